package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// opened is an oofgg.v1.PlayResponse that opens a stream whose seat has sent three commands.
var opened = protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType),
	protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 3))

// serve plays the server: it opens a stream that asks for it, and then does what it is told.
func serve(t *testing.T, asked *atomic.Int64, then func(stream grpc.ServerStream) error) string {
	t.Helper()
	encoding.RegisterCodecV2(raw{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var first []byte
		if err := stream.RecvMsg(&first); err != nil {
			return err
		}
		asked.Add(1)
		if err := stream.SendMsg(opened); err != nil {
			return err
		}
		return then(stream)
	}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// behave has clients at their worst for a moment and returns what was counted.
func behave(t *testing.T, job Job, until func(Mark) bool) Mark {
	t.Helper()
	job.Kind, job.Connections, job.LimitSeconds, job.Streams = "hostile", 1, 60, []Seat{{SessionID: "s"}}
	job.Payload, job.Delivery = stampBytes, 1
	if err := job.check(); err != nil {
		t.Fatal(err)
	}
	connections, err := connect(job.Target, job.Connections)
	if err != nil {
		t.Fatal(err)
	}
	counts := &Counts{}
	counts.Reset()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- (&Hostile{job: job, connections: connections, counts: counts}).Run(ctx, ready)
	}()
	<-ready
	var mark Mark
	ended := map[string]int64{}
	sent := int64(0)
	for ctx.Err() == nil {
		mark = counts.Reset()
		for why, times := range mark.Ended {
			ended[why] += times
		}
		sent += mark.Sent
		mark.Ended, mark.Sent = ended, sent
		if until(mark) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Fatalf("it did not come to that: %+v", mark)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return mark
}

func TestAHalfOpenStreamSaysNothing(t *testing.T) {
	var asked atomic.Int64
	target := serve(t, &asked, func(grpc.ServerStream) error { return nil })
	mark := behave(t, Job{Target: target, Behaviour: "half_open", Number: 20}, func(m Mark) bool { return m.Open == 20 })
	if asked.Load() != 0 || len(mark.Ended) != 0 {
		t.Fatalf("%d streams were opened; %+v", asked.Load(), mark)
	}
}

func TestADeafReceiverStopsWhoeverSendsToIt(t *testing.T) {
	var asked, sent atomic.Int64
	target := serve(t, &asked, func(stream grpc.ServerStream) error {
		for stream.SendMsg(make([]byte, 16*1024)) == nil {
			sent.Add(16 * 1024)
		}
		return nil
	})
	before := int64(-1)
	behave(t, Job{Target: target, Behaviour: "deaf", Number: 1}, func(m Mark) bool {
		time.Sleep(100 * time.Millisecond)
		stopped := sent.Load() == before
		before = sent.Load()
		return m.Open == 1 && before > 0 && stopped
	})
	if before > 1024*1024 {
		t.Fatalf("it took %d bytes without reading", before)
	}
}

func TestASlowReceiverAcknowledgesWhatItReads(t *testing.T) {
	var asked atomic.Int64
	acknowledged := make(chan []byte, 1)
	flush := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7)
	target := serve(t, &asked, func(stream grpc.ServerStream) error {
		if err := stream.SendMsg(flush); err != nil {
			return err
		}
		var answer []byte
		err := stream.RecvMsg(&answer)
		acknowledged <- answer
		return err
	})
	behave(t, Job{Target: target, Behaviour: "slow", Number: 1}, func(Mark) bool { return len(acknowledged) > 0 })
	if answer := <-acknowledged; string(answer) != string(AppendAck(nil, 7)) {
		t.Fatalf("it answered %x", answer)
	}
}

func TestAFloodGoesOnAfterItWasThrownOut(t *testing.T) {
	var asked atomic.Int64
	target := serve(t, &asked, func(stream grpc.ServerStream) error {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		// It goes on with the number after the last one of its seat.
		if first := AppendCommand(nil, 4, 1, 0, stampBytes)[2:4]; string(request[2:4]) != string(first) {
			t.Errorf("it sends %x and not %x", request[2:4], first)
		}
		return status.Error(codes.ResourceExhausted, "too much")
	})
	mark := behave(t, Job{Target: target, Behaviour: "flood", Number: 1, Batch: 4},
		func(m Mark) bool { return m.Ended["ResourceExhausted"] >= 2 })
	if mark.Sent < 8 {
		t.Fatalf("got %+v", mark)
	}
}

func TestAHalfConnectionSaysHalfOfAWord(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan string, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		words := make([]byte, 64)
		n, _ := connection.Read(words)
		heard <- string(words[:n])
		connection.Close()
	}()
	mark := behave(t, Job{Target: listener.Addr().String(), Behaviour: "half_connection", Number: 1},
		func(m Mark) bool { return m.Ended["connection"] >= 1 })
	if words := <-heard; words != "PRI * HTTP/2.0\r\n" {
		t.Fatalf("it said %q; %+v", words, mark)
	}
}

func TestWhyAClientWasThrownOut(t *testing.T) {
	for want, err := range map[string]error{
		"ended":       nil,
		"connection":  &net.OpError{Op: "read", Err: errors.New("reset")},
		"Unavailable": status.Error(codes.Unavailable, "gone"),
	} {
		if got := reason(err); got != want {
			t.Errorf("%v is %q and not %q", err, got, want)
		}
	}
}

func TestAJobOfHostileClientsNamesABehaviour(t *testing.T) {
	job := Job{Kind: "hostile", Target: "127.0.0.1:80", Connections: 1, LimitSeconds: 1, Payload: stampBytes, Number: 1,
		Streams: []Seat{{}}, Behaviour: "polite"}
	if job.check() == nil {
		t.Fatal("there is no such behaviour")
	}
	job.Behaviour = "flood"
	if job.check() == nil {
		t.Fatal("a flood without a batch sends nothing")
	}
}
