// Loadgen sends load to a server on this machine and counts what comes back.
//
// The first line of standard input is a job (see Job). The process answers with one JSON object per line: `ready` once
// the load runs, then a `mark` with all counts since the last one for every further line it reads, and `failed` before
// it ends in trouble. It ends when its input does, and at the latest after the job's limit.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// Job says what to send where.
type Job struct {
	Kind         string  `json:"kind"`        // "unary", "watch", "play" or "hostile"
	Target       string  `json:"target"`      // host:port; loopback only
	Connections  int     `json:"connections"` // HTTP/2 connections that share the load
	LimitSeconds float64 `json:"limit_seconds"`

	// Unary: InFlight calls at a time, each of Calls in turn.
	Method   string `json:"method"`
	InFlight int    `json:"in_flight"`
	Calls    []Call `json:"calls"`

	// Watch: a server stream of Method for each of Calls, once; Hertz of them a second, or all at once.

	// Play: one stream each, of any sessions. Every stream has Window reliable commands under way that it has not seen
	// come back, at most Batch of them in a request; or, with Hertz, it sends one command at that rate. With neither,
	// streams are only kept open. The first Senders of a session send, and the others listen; 0: all send.
	Streams  []Seat  `json:"streams"`
	Delivery int     `json:"delivery"` // oofgg.v1.DeliveryClass
	Payload  int     `json:"payload"`  // bytes, at least 8
	Window   int     `json:"window"`
	Batch    int     `json:"batch"`
	Hertz    float64 `json:"hertz"`
	Senders  int     `json:"senders"`
	Returns  bool    `json:"returns"` // who is thrown out comes back, and that is counted; else the load fails

	// Hostile: this many clients of a kind (see behaviours), on Streams in turn.
	Behaviour string `json:"behaviour"`
	Number    int    `json:"number"`
}

// Call is one request to send again and again.
type Call struct {
	Request []byte `json:"request"` // encoded; base64 in JSON
	Token   string `json:"token"`
}

// Seat is a place that a stream plays for.
type Seat struct {
	SessionID string `json:"session_id"`
	Node      string `json:"node"`
	Token     string `json:"token"`
}

// Load is what a job has running.
type Load interface {
	// Run sends until the context ends. It closes ready when all of the load runs.
	Run(ctx context.Context, ready chan<- struct{}) error
}

func main() {
	if err := run(); err != nil {
		say(map[string]any{"event": "failed", "reason": err.Error()})
		os.Exit(1)
	}
}

func run() error {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	if !input.Scan() {
		return fmt.Errorf("no job on standard input: %w", input.Err())
	}
	var job Job
	if err := json.Unmarshal(input.Bytes(), &job); err != nil {
		return fmt.Errorf("the job is not understood: %w", err)
	}
	if err := job.check(); err != nil {
		return err
	}
	connections, err := connect(job.Target, job.Connections)
	if err != nil {
		return err
	}
	counts := &Counts{}
	counts.Reset()
	var load Load
	switch job.Kind {
	case "unary":
		load = &Unary{job: job, connections: connections, counts: counts}
	case "watch":
		load = &Watch{job: job, connections: connections, counts: counts}
	case "hostile":
		load = &Hostile{job: job, connections: connections, counts: counts}
	default:
		load = &Play{job: job, connections: connections, counts: counts}
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(job.LimitSeconds*float64(time.Second)))
	defer cancel()
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- load.Run(ctx, ready) }()
	lines := make(chan struct{})
	go func() {
		for input.Scan() {
			lines <- struct{}{}
		}
		close(lines)
	}()
	for {
		select {
		case <-ready:
			ready = nil
			say(map[string]any{"event": "ready"})
		case _, open := <-lines:
			if !open {
				cancel()
				<-done
				return nil
			}
			say(counts.Reset())
		case err := <-done:
			if err == nil {
				err = ctx.Err()
			}
			return err
		}
	}
}

func (j *Job) check() error {
	host, _, err := net.SplitHostPort(j.Target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if address := net.ParseIP(host); address == nil || !address.IsLoopback() {
		return fmt.Errorf("target: %s is not an address of this machine's loopback; load goes nowhere else", host)
	}
	switch {
	case j.Kind != "unary" && j.Kind != "watch" && j.Kind != "play" && j.Kind != "hostile":
		return fmt.Errorf("kind: %q is none of unary, watch, play, hostile", j.Kind)
	case j.Connections < 1:
		return fmt.Errorf("connections: at least 1")
	case j.LimitSeconds <= 0:
		return fmt.Errorf("limit_seconds: the load has to end by itself")
	case j.Kind == "unary" && (j.Method == "" || j.InFlight < 1 || len(j.Calls) == 0):
		return fmt.Errorf("unary needs method, in_flight and calls")
	case j.Kind == "watch" && (j.Method == "" || len(j.Calls) == 0):
		return fmt.Errorf("watch needs method and calls")
	case j.Kind == "watch":
		return nil
	case j.Kind != "unary" && len(j.Streams) == 0:
		return fmt.Errorf("%s needs streams", j.Kind)
	case j.Kind == "hostile" && (behaviours[j.Behaviour] == nil || j.Number < 1):
		return fmt.Errorf("hostile needs a number and one of its behaviours, and %q is none", j.Behaviour)
	case j.Behaviour == "flood" && j.Batch < 1:
		return fmt.Errorf("flood needs batch")
	case j.Kind != "unary" && j.Payload < stampBytes:
		return fmt.Errorf("payload: at least %d bytes, which hold the time", stampBytes)
	case j.Senders > 0 && j.Hertz == 0:
		return fmt.Errorf("senders needs hertz")
	case j.Window > 0 && (j.Batch < 1 || j.Hertz > 0):
		return fmt.Errorf("window needs batch, and no hertz")
	}
	return nil
}

func say(line any) {
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(encoded))
}
