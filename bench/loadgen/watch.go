package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const watchTimeout = 120 * time.Second

// Watch opens a server stream for each of Calls, once, and reads it to its end. With Hertz so many are opened each
// second, else all at once. What is timed is the life of a stream.
type Watch struct {
	job         Job
	connections []*grpc.ClientConn
	counts      *Counts
}

func (w *Watch) Run(ctx context.Context, ready chan<- struct{}) error {
	close(ready)
	began := time.Now()
	var streams sync.WaitGroup
	for i, call := range w.job.Calls {
		if w.job.Hertz > 0 {
			due := began.Add(time.Duration(float64(i) / w.job.Hertz * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return nil
			}
		}
		connection := w.connections[i%len(w.connections)]
		streams.Go(func() {
			opened := time.Now()
			w.counts.Add(0, 1)
			if err := w.read(ctx, connection, call); err == nil {
				w.counts.Add(1, 0, time.Since(opened))
			} else if ctx.Err() == nil {
				w.counts.Fail(err)
			}
		})
	}
	streams.Wait()
	<-ctx.Done()
	return nil
}

func (w *Watch) read(ctx context.Context, connection *grpc.ClientConn, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	stream, err := connection.NewStream(withToken(ctx, call.Token), &grpc.StreamDesc{ServerStreams: true}, w.job.Method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(call.Request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var response []byte
		if err := stream.RecvMsg(&response); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}
}
