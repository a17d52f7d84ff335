package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

const (
	callTimeout  = 10 * time.Second
	mostFailures = 1000
)

// Unary keeps a number of calls in flight.
type Unary struct {
	job         Job
	connections []*grpc.ClientConn
	counts      *Counts
}

func (u *Unary) Run(ctx context.Context, ready chan<- struct{}) error {
	var next, failures atomic.Int64
	var workers sync.WaitGroup
	for i := range u.job.InFlight {
		connection := u.connections[i%len(u.connections)]
		workers.Go(func() {
			for ctx.Err() == nil && failures.Load() < mostFailures {
				call := u.job.Calls[int(next.Add(1))%len(u.job.Calls)]
				sent := time.Now()
				if err := u.call(ctx, connection, call); err == nil {
					u.counts.Add(1, 1, time.Since(sent))
				} else if ctx.Err() == nil {
					u.counts.Fail(err)
					failures.Add(1)
				}
			}
		})
	}
	close(ready)
	workers.Wait()
	if failures.Load() >= mostFailures {
		return fmt.Errorf("%d calls failed; the last mark has the first failure", failures.Load())
	}
	return nil
}

func (u *Unary) call(ctx context.Context, connection *grpc.ClientConn, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var response []byte
	return connection.Invoke(withToken(ctx, call.Token), u.job.Method, call.Request, &response)
}
