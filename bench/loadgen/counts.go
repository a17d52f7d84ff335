package main

import (
	"slices"
	"sync"
	"time"
)

// Samples kept between two marks; what comes on top is counted but not timed.
const mostSamples = 4 << 20

// Counts is what happened since the last mark.
type Counts struct {
	mu      sync.Mutex
	since   time.Time
	done    int64
	sent    int64
	failed  int64
	failure string
	latency []time.Duration
	open    int64
	ended   map[string]int64
}

// Mark is a report of counts. Latencies are in microseconds. Open is how many hostile clients are where they want to be
// now, Ended how often somebody was thrown out, by what it was told.
type Mark struct {
	Event   string             `json:"event"`
	Seconds float64            `json:"seconds"`
	Done    int64              `json:"done"`
	Sent    int64              `json:"sent"`
	Failed  int64              `json:"failed"`
	Failure string             `json:"failure"`
	Latency map[string]float64 `json:"latency"`
	Open    int64              `json:"open"`
	Ended   map[string]int64   `json:"ended"`
}

// Add counts things done and sent, and how long each took of those that were timed.
func (c *Counts) Add(done, sent int, latencies ...time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += int64(done)
	c.sent += int64(sent)
	if len(c.latency)+len(latencies) <= mostSamples {
		c.latency = append(c.latency, latencies...)
	}
}

// Fail counts something that went wrong, and keeps what was said first.
func (c *Counts) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
	if c.failure == "" {
		c.failure = err.Error()
	}
}

// Open counts hostile clients that have got, or are no longer, where they want to be.
func (c *Counts) Open(change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += int64(change)
}

// End counts a client that was thrown out, and comes back.
func (c *Counts) End(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = map[string]int64{}
	}
	c.ended[reason]++
}

// Reset returns all counts and begins anew.
func (c *Counts) Reset() Mark {
	c.mu.Lock()
	now := time.Now()
	mark := Mark{"mark", now.Sub(c.since).Seconds(), c.done, c.sent, c.failed, c.failure, nil, c.open, c.ended}
	samples := c.latency
	c.since, c.done, c.sent, c.failed, c.failure, c.latency, c.ended = now, 0, 0, 0, "", nil, nil
	c.mu.Unlock()
	mark.Latency = percentiles(samples)
	return mark
}

func percentiles(samples []time.Duration) map[string]float64 {
	if len(samples) == 0 {
		return map[string]float64{}
	}
	slices.Sort(samples)
	at := func(share float64) float64 {
		index := int(share * float64(len(samples)))
		return float64(samples[min(index, len(samples)-1)]) / 1e3
	}
	return map[string]float64{
		"count": float64(len(samples)), "p50": at(0.50), "p90": at(0.90), "p99": at(0.99), "max": at(1),
	}
}
