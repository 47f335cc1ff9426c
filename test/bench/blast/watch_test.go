package main

import (
	"testing"
	"time"
)

func TestNearAStall(t *testing.T) {
	zero := time.Now()
	s := stalls{zero: zero, list: []stall{
		{From: 100 * time.Millisecond, To: 104 * time.Millisecond},
		{From: 300 * time.Millisecond, To: 302 * time.Millisecond},
	}}
	for _, c := range []struct {
		name string
		due  time.Duration
		want bool
	}{
		{"long before the first", 80 * time.Millisecond, false},
		{"soon before", 91 * time.Millisecond, true},
		{"during", 102 * time.Millisecond, true},
		{"while the queue drains", 128 * time.Millisecond, true},
		{"after it drained", 130 * time.Millisecond, false},
		{"in the next", 301 * time.Millisecond, true},
		{"after the last", 400 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := s.near(zero.Add(c.due)); got != c.want {
				t.Errorf("near(%v) = %v, want %v", c.due, got, c.want)
			}
		})
	}
	if (stalls{}).near(zero) {
		t.Error("a request is near a stall where none was")
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*time.Microsecond)
	}
	for _, c := range []struct {
		name  string
		in    []time.Duration
		share float64
		want  float64
	}{
		{"none is zero", nil, 0.99, 0},
		{"one is every percentile", []time.Duration{7 * time.Microsecond}, 0.5, 7},
		{"half of a hundred", hundred, 0.5, 50},
		{"99 of a hundred", hundred, 0.99, 99},
		{"all of a hundred", hundred, 1, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := percentile(c.in, c.share); got != c.want {
				t.Errorf("percentile(%v) = %v, want %v", c.share, got, c.want)
			}
		})
	}
}
