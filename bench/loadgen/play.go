package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	latest      = 2 // DELIVERY_CLASS_LATEST
	openTimeout = 30 * time.Second

	// Flushes are acknowledged as the SDK does it: with the next request, and without one when this much has come or
	// this much time has passed.
	ackBytes = 16 * 1024
	ackDelay = 100 * time.Millisecond
)

// Play keeps one stream open per seat.
type Play struct {
	job         Job
	connections []*grpc.ClientConn
	counts      *Counts
}

func (p *Play) Run(ctx context.Context, ready chan<- struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var opened, running sync.WaitGroup
	start := make(chan struct{})
	failed := make(chan error, 2*len(p.job.Streams))
	players := map[string]int{}
	for _, seat := range p.job.Streams {
		players[seat.SessionID]++
	}
	senders := map[string]int{}
	for i, seat := range p.job.Streams {
		opened.Add(1)
		senders[seat.SessionID]++
		listens := p.job.Senders > 0 && senders[seat.SessionID] > p.job.Senders
		entered := sync.OnceFunc(opened.Done)
		connection := p.connections[i%len(p.connections)]
		running.Go(func() {
			for {
				player := &player{
					play: p, seat: seat, players: players[seat.SessionID], wake: make(chan struct{}, 1), listens: listens,
				}
				err := player.run(ctx, connection, entered, start)
				if err == nil || ctx.Err() != nil {
					return
				}
				if !p.job.Returns {
					failed <- fmt.Errorf("stream %d of session %s: %w", i, seat.SessionID, err)
					return
				}
				p.counts.End(reason(err))
				select {
				case <-ctx.Done():
				case <-time.After(comeBack):
				}
			}
		})
	}
	all := make(chan struct{})
	go func() {
		opened.Wait()
		close(all)
	}()
	defer running.Wait()
	defer cancel()
	select {
	case <-all:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	case <-time.After(openTimeout):
		return fmt.Errorf("not all of %d streams were opened within %s", len(p.job.Streams), openTimeout)
	}
	close(start)
	close(ready)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// player is one stream. Its reader notes what has to be said, its writer says it.
type player struct {
	play    *Play
	seat    Seat
	players int  // of its session, itself included
	listens bool // and sends nothing
	stream  grpc.ClientStream
	sent    uint64 // number of the last command
	wake    chan struct{}

	mu       sync.Mutex
	flush    uint64 // to acknowledge; 0 for none
	size     int    // bytes that it acknowledges
	since    time.Time
	received int // events so far
	beats    []uint64
}

func (p *player) run(ctx context.Context, connection *grpc.ClientConn, opened func(), start <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := playing(ctx, connection, p.seat)
	if err != nil {
		return err
	}
	p.stream = stream
	if err := stream.SendMsg(Opening(p.seat.SessionID)); err != nil {
		return stream.RecvMsg(new([]byte)) // the status is there
	}
	first, err := receive(stream, false)
	if err != nil {
		return err
	}
	if !first.Opened {
		return fmt.Errorf("the first response does not open the stream")
	}
	p.sent = first.Command
	opened()
	read := make(chan error, 1)
	go func() {
		err := p.read()
		cancel()
		read <- err
	}()
	p.write(ctx, start)
	cancel()
	return <-read
}

func (p *player) read() error {
	for {
		response, err := receive(p.stream, p.play.job.Hertz > 0)
		if err != nil {
			return err
		}
		if response.Events > 0 {
			p.play.counts.Add(response.Events, 0, response.Latencies...)
		}
		if p.note(response) {
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
	}
}

// note keeps what has to be said about a response, and tells whether the writer has to look.
func (p *player) note(response Response) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received += response.Events
	if response.Asked {
		p.beats = append(p.beats, response.Nonce)
	}
	first := false
	if response.Flush > 0 {
		if p.flush == 0 {
			p.since, first = time.Now(), true
		}
		p.flush = response.Flush
		p.size += response.Size
	}
	return response.Asked || first || p.size >= ackBytes || p.play.job.Window > 0
}

// write says what there is to say until the context ends. How a stream ended, reading tells.
func (p *player) write(ctx context.Context, start <-chan struct{}) {
	job := p.play.job
	var tick *time.Timer
	var ticks <-chan time.Time
	var due time.Time
	period := time.Duration(0)
	started := false
	before, sent := p.sent, p.sent
	acks := time.NewTimer(time.Hour)
	for {
		now := time.Now()
		var stamps []time.Duration
		if started && job.Hertz > 0 && !now.Before(due) {
			stamps = append(stamps, due.Sub(began))
			due = due.Add(period)
			tick.Reset(time.Until(due))
		}
		if started && job.Window > 0 {
			// Everybody gets everybody's commands, so this is how many of its own a player has seen come back.
			for range job.Window + p.seen()/p.players - int(sent-before) {
				stamps = append(stamps, now.Sub(began))
			}
		}
		flush, beats, wait := p.take(now, len(stamps) > 0)
		acks.Reset(wait)
		for _, request := range p.requests(flush, beats, stamps, sent) {
			if p.stream.SendMsg(request) != nil {
				return
			}
		}
		sent += uint64(len(stamps))
		if len(stamps) > 0 {
			p.play.counts.Add(0, len(stamps))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-ticks:
		case <-acks.C:
		case <-start:
			start, started = nil, !p.listens
			if started && job.Hertz > 0 {
				period = time.Duration(float64(time.Second) / job.Hertz)
				// Players do not move in step.
				due = time.Now().Add(time.Duration(rand.Float64() * float64(period)))
				tick = time.NewTimer(time.Until(due))
				ticks = tick.C
			}
		}
	}
}

func (p *player) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.received
}

// take returns what is to be said now, and how long what is left can wait.
func (p *player) take(now time.Time, anyway bool) (flush uint64, beats []uint64, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	beats, p.beats = p.beats, nil
	if p.flush == 0 {
		return 0, beats, time.Hour
	}
	wait = p.since.Add(ackDelay).Sub(now)
	if !anyway && len(beats) == 0 && p.size < ackBytes && wait > 0 {
		return 0, beats, wait
	}
	flush, p.flush, p.size = p.flush, 0, 0
	return flush, beats, time.Hour
}

// requests puts everything into as few requests as the job allows.
func (p *player) requests(flush uint64, beats []uint64, stamps []time.Duration, sent uint64) [][]byte {
	job := p.play.job
	var requests [][]byte
	var request []byte
	if flush > 0 {
		request = AppendAck(request, flush)
	}
	inRequest := 0
	for i, stamp := range stamps {
		request = AppendCommand(request, sent+uint64(i)+1, job.Delivery, stamp, job.Payload)
		if inRequest++; inRequest == max(job.Batch, 1) {
			requests, request, inRequest = append(requests, request), nil, 0
		}
	}
	for _, nonce := range beats {
		if request != nil {
			requests = append(requests, request)
		}
		request = AppendBeat(nil, nonce)
	}
	if request != nil {
		requests = append(requests, request)
	}
	return requests
}
