package h1

import (
	"testing"
	"time"
)

func TestConnectionIsReusableAfterAResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		sent   int64
		unsent bool
		want   Reusable
	}{
		"answered, no body":                    {200, 0, false, ReusableNow},
		"answered, a body":                     {200, 10, false, ReusableNow},
		"answered, a large body":               {200, LargeBody + 1, false, ReusableNow},
		"refused, no body":                     {413, 0, false, ReusableNow},
		"refused, a body":                      {413, 10, false, ReusableAfterQuarantine},
		"failed, a body":                       {503, LargeBody, false, ReusableAfterQuarantine},
		"refused, a large body":                {413, LargeBody + 1, false, NotReusable},
		"answered before the body left":        {200, 10, true, ReusableAfterQuarantine},
		"answered before the large body left":  {302, LargeBody + 1, true, NotReusable},
		"answered before a bodyless head left": {200, 0, true, ReusableNow},
	} {
		if got := new(Reuse).AfterResponse(tt.status, tt.sent, tt.unsent); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}

func TestRequestTakesAnIdleConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		proven     bool
		requests   int
		idle       time.Duration
		idempotent bool
		want       bool
	}{
		"a new connection":                                {false, 0, 0, false, true},
		"an unproven server, an idempotent request":       {false, 1, 0, true, true},
		"an unproven server, a connection on probation":   {false, 1, Probation - 1, false, false},
		"an unproven server, a connection that is older":  {false, 1, Probation, false, true},
		"a proven server, a connection that is idle anew": {true, 5, 0, false, true},
	} {
		if got := (&Reuse{proven: tt.proven}).Allows(tt.requests, tt.idle, tt.idempotent); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func TestServerProvesThatItKeepsConnectionsOpen(t *testing.T) {
	var r Reuse
	for _, step := range []struct {
		what string
		note func()
		want bool
	}{
		{"an answer on a new connection", func() { r.Answered(1) }, false},
		{"an answer on a used one", func() { r.Answered(2) }, true},
		{"another answer on a new one", func() { r.Answered(1) }, true},
		{"a request lost on a new connection", func() { r.Lost(1) }, true},
		{"a request lost on a used one", func() { r.Lost(3) }, false},
	} {
		if step.note(); r.proven != step.want {
			t.Errorf("after %s: proven is %v, want %v", step.what, r.proven, step.want)
		}
	}
}
