package main

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// echoed builds what a server would answer with: commands of a request as events of a response.
func echoed(t *testing.T, request []byte, flush, ack uint64) []byte {
	t.Helper()
	var response []byte
	err := fields(request, func(number protowire.Number, _ uint64, command []byte) error {
		if number != 2 {
			return nil
		}
		var message []byte
		err := fields(command, func(number protowire.Number, _ uint64, body []byte) error {
			if number == 4 {
				message = protowire.AppendBytes(protowire.AppendTag(message, 2, protowire.BytesType), body)
			}
			return nil
		})
		event := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
		event = protowire.AppendBytes(protowire.AppendTag(event, 10, protowire.BytesType), message)
		response = protowire.AppendBytes(protowire.AppendTag(response, 1, protowire.BytesType), event)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	response = protowire.AppendVarint(protowire.AppendTag(response, 2, protowire.VarintType), flush)
	return protowire.AppendVarint(protowire.AppendTag(response, 3, protowire.VarintType), ack)
}

func TestAResponseIsCountedAndTimed(t *testing.T) {
	stamp := time.Since(began)
	request := AppendCommand(nil, 1, latest, stamp, 32)
	request = AppendCommand(request, 2, 1, stamp, stampBytes)
	request = AppendCommand(request, 3, 1, untimed, stampBytes)
	response, err := Scan(echoed(t, request, 300, 2), true)
	if err != nil {
		t.Fatal(err)
	}
	if response.Events != 3 || response.Flush != 300 || len(response.Latencies) != 2 {
		t.Fatalf("got %+v", response)
	}
	if latency := response.Latencies[0]; latency < 0 || latency > time.Minute {
		t.Fatalf("a latency of %s", latency)
	}
}

func TestAHeartbeatIsAnswered(t *testing.T) {
	beat := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 42)
	asked := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), beat)
	response, err := Scan(asked, false)
	if err != nil || !response.Asked || response.Nonce != 42 {
		t.Fatalf("got %+v, %v", response, err)
	}
	answer := AppendBeat(nil, 42)
	if len(answer) == 0 || answer[0] != 4<<3|2 {
		t.Fatalf("an answer of %x", answer)
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	if _, err := Scan([]byte{0xff}, false); err == nil {
		t.Fatal("half a tag was taken for a message")
	}
	if _, err := Scan([]byte{0x0a, 0x05, 0x00}, false); err == nil {
		t.Fatal("an event that is cut off was taken for a message")
	}
}

func TestRequestsHoldAsMuchAsTheJobAllows(t *testing.T) {
	stamps := make([]time.Duration, 5)
	for batch, want := range map[int]int{1: 5, 2: 3, 256: 1} {
		p := &player{play: &Play{job: Job{Delivery: 1, Payload: 8, Batch: batch}}}
		requests := p.requests(9, nil, stamps, 0)
		if len(requests) != want {
			t.Errorf("batches of %d made %d requests", batch, len(requests))
		}
	}
	p := &player{play: &Play{job: Job{}}}
	if requests := p.requests(9, []uint64{1, 2}, nil, 0); len(requests) != 3 {
		t.Errorf("an acknowledgement and two heartbeats made %d requests", len(requests))
	}
}

func TestAnAcknowledgementWaitsForCompany(t *testing.T) {
	p := &player{play: &Play{}}
	if !p.note(Response{Flush: 1, Size: 100}) {
		t.Fatal("the writer has to know of a first flush, to set its timer")
	}
	if flush, _, wait := p.take(time.Now(), false); flush != 0 || wait > ackDelay || wait <= 0 {
		t.Fatalf("acknowledged %d at once, the next wait is %s", flush, wait)
	}
	if p.note(Response{Flush: 2, Size: 100}) {
		t.Fatal("a second small flush need not wake the writer")
	}
	if flush, _, _ := p.take(time.Now(), true); flush != 2 {
		t.Fatalf("a request that leaves anyway acknowledges %d", flush)
	}
	p.note(Response{Flush: 3, Size: ackBytes})
	if flush, _, _ := p.take(time.Now(), false); flush != 3 {
		t.Fatalf("much is acknowledged at once, and not %d", flush)
	}
	p.note(Response{Flush: 4, Size: 1})
	if flush, _, _ := p.take(time.Now().Add(ackDelay), false); flush != 4 {
		t.Fatalf("after a while, and not %d", flush)
	}
}

func TestLoadGoesToLoopbackOnly(t *testing.T) {
	job := Job{Kind: "unary", Target: "192.0.2.1:80", Connections: 1, LimitSeconds: 1, Method: "/x/y", InFlight: 1,
		Calls: []Call{{}}}
	if job.check() == nil {
		t.Fatal("a job for another machine was taken")
	}
	job.Target = "127.0.0.1:80"
	if err := job.check(); err != nil {
		t.Fatal(err)
	}
}

func TestPercentiles(t *testing.T) {
	samples := make([]time.Duration, 1000)
	for i := range samples {
		samples[i] = time.Duration(1000-i) * time.Microsecond
	}
	found := percentiles(samples)
	if found["p50"] != 501 || found["p99"] != 991 || found["max"] != 1000 {
		t.Fatalf("got %v", found)
	}
}
