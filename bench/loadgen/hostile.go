package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

const (
	// What a client reads that reads slowly, in bytes per second.
	slowBytes = 1024
	// Whoever was thrown out comes back after this time: what throws it out has to cost less than keeping it.
	comeBack = 100 * time.Millisecond
	// Thousands come, and come back, at 2,500 a second: on one machine, more would show who has the processors.
	share = 400 * time.Microsecond
)

// behaviours of a hostile client. Each does its worst until the context ends or it is thrown out, and calls opened when
// it has got as far as it wants to.
var behaviours = map[string]func(h *Hostile, ctx context.Context, number int, opened func()) error{
	"deaf":            (*Hostile).deaf,
	"slow":            (*Hostile).slow,
	"flood":           (*Hostile).flood,
	"half_open":       (*Hostile).halfOpen,
	"half_connection": (*Hostile).halfConnection,
}

// Hostile keeps clients at their worst, and brings back those that were thrown out.
type Hostile struct {
	job         Job
	connections []*grpc.ClientConn
	counts      *Counts
}

func (h *Hostile) Run(ctx context.Context, ready chan<- struct{}) error {
	behave := behaviours[h.job.Behaviour]
	pause := max(comeBack, time.Duration(h.job.Number)*share)
	var first, running sync.WaitGroup
	for number := range h.job.Number {
		first.Add(1)
		running.Go(func() {
			tried := sync.OnceFunc(first.Done)
			defer tried()
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(number) * share):
			}
			for ctx.Err() == nil {
				open := false
				err := behave(h, ctx, number, func() {
					open = true
					h.counts.Open(1)
					tried()
				})
				if open {
					h.counts.Open(-1)
				}
				if ctx.Err() != nil {
					return
				}
				h.counts.End(reason(err))
				tried()
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	go func() {
		first.Wait()
		close(ready)
	}()
	running.Wait()
	return nil
}

// reason names why a client was thrown out.
func reason(err error) string {
	var network *net.OpError
	switch {
	case err == nil:
		return "ended"
	case errors.As(err, &network):
		return "connection"
	}
	return status.Code(err).String()
}

// deaf opens its stream and never reads again.
func (h *Hostile) deaf(ctx context.Context, number int, opened func()) error {
	_, _, err := h.enter(ctx, number)
	if err != nil {
		return err
	}
	opened()
	<-ctx.Done()
	return nil
}

// slow reads and acknowledges everything, at a pace no game can be played at.
func (h *Hostile) slow(ctx context.Context, number int, opened func()) error {
	stream, _, err := h.enter(ctx, number)
	if err != nil {
		return err
	}
	opened()
	for {
		response, err := receive(stream, false)
		if err != nil {
			return err
		}
		h.counts.Add(response.Events, 0)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(response.Size) * time.Second / slowBytes):
		}
		if err := answer(stream, response); err != nil {
			return stream.RecvMsg(new([]byte)) // the status is there
		}
	}
}

// flood sends commands as fast as the connection takes them, and reads what comes back.
func (h *Hostile) flood(ctx context.Context, number int, opened func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, sent, err := h.enter(ctx, number)
	if err != nil {
		return err
	}
	opened()
	var writing sync.Mutex // acknowledgements go the same way
	go func() {
		for {
			var request []byte
			for range h.job.Batch {
				sent++
				request = AppendCommand(request, sent, h.job.Delivery, untimed, h.job.Payload)
			}
			writing.Lock()
			err := stream.SendMsg(request)
			writing.Unlock()
			if err != nil {
				return
			}
			h.counts.Add(0, h.job.Batch)
		}
	}()
	for {
		response, err := receive(stream, false)
		if err != nil {
			return err
		}
		h.counts.Add(response.Events, 0)
		writing.Lock()
		_ = answer(stream, response)
		writing.Unlock()
	}
}

// halfOpen calls Play and never says which session it wants.
func (h *Hostile) halfOpen(ctx context.Context, number int, opened func()) error {
	stream, err := playing(ctx, h.connections[number%len(h.connections)], h.seat(number))
	if err != nil {
		return err
	}
	opened()
	return stream.RecvMsg(new([]byte))
}

// halfConnection begins to speak HTTP/2 and stops in the middle of the first words.
func (h *Hostile) halfConnection(ctx context.Context, _ int, opened func()) error {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", h.job.Target)
	if err != nil {
		return err
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()
	if _, err := connection.Write([]byte("PRI * HTTP/2.0\r\n")); err != nil {
		return err
	}
	opened()
	for {
		if _, err := connection.Read(make([]byte, 1024)); err != nil {
			return &net.OpError{Op: "read", Err: err}
		}
	}
}

func (h *Hostile) seat(number int) Seat { return h.job.Streams[number%len(h.job.Streams)] }

// enter opens a stream properly; the number is that of the last command the session has of this seat.
func (h *Hostile) enter(ctx context.Context, number int) (grpc.ClientStream, uint64, error) {
	seat := h.seat(number)
	stream, err := playing(ctx, h.connections[number%len(h.connections)], seat)
	if err != nil {
		return nil, 0, err
	}
	if err := stream.SendMsg(Opening(seat.SessionID)); err != nil {
		return nil, 0, stream.RecvMsg(new([]byte)) // the status is there
	}
	response, err := receive(stream, false)
	if err != nil {
		return nil, 0, err
	}
	if !response.Opened {
		return nil, 0, fmt.Errorf("the first response does not open the stream")
	}
	return stream, response.Command, nil
}

// answer acknowledges a response and its heartbeat.
func answer(stream grpc.ClientStream, response Response) error {
	if response.Flush > 0 {
		if err := stream.SendMsg(AppendAck(nil, response.Flush)); err != nil {
			return err
		}
	}
	if response.Asked {
		return stream.SendMsg(AppendBeat(nil, response.Nonce))
	}
	return nil
}
