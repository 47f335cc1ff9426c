package forward

import (
	"testing"
	"time"
)

func TestConnectionIsReusableAfterAResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		sent   int64
		unsent bool
		want   reusable
	}{
		"answered, no body":                    {200, 0, false, reusableNow},
		"answered, a body":                     {200, 10, false, reusableNow},
		"answered, a large body":               {200, largeBody + 1, false, reusableNow},
		"refused, no body":                     {413, 0, false, reusableNow},
		"refused, a body":                      {413, 10, false, reusableAfterQuarantine},
		"failed, a body":                       {503, largeBody, false, reusableAfterQuarantine},
		"refused, a large body":                {413, largeBody + 1, false, notReusable},
		"answered before the body left":        {200, 10, true, reusableAfterQuarantine},
		"answered before the large body left":  {302, largeBody + 1, true, notReusable},
		"answered before a bodyless head left": {200, 0, true, reusableNow},
	} {
		if got := new(reuse).afterResponse(tt.status, tt.sent, tt.unsent); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}

func TestRequestTakesAnIdleConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		proven     bool
		requests   int
		idle       time.Duration
		repeatable bool
		want       bool
	}{
		"a new connection":                                {false, 0, 0, false, true},
		"an unproven server, a repeatable request":        {false, 1, 0, true, true},
		"an unproven server, a connection on probation":   {false, 1, probation - 1, false, false},
		"an unproven server, a connection that is older":  {false, 1, probation, false, true},
		"a proven server, a connection that is idle anew": {true, 5, 0, false, true},
	} {
		if got := (&reuse{proven: tt.proven}).allows(tt.requests, tt.idle, tt.repeatable); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func TestServerProvesThatItKeepsConnectionsOpen(t *testing.T) {
	var r reuse
	for _, step := range []struct {
		what string
		note func()
		want bool
	}{
		{"an answer on a new connection", func() { r.answered(1) }, false},
		{"an answer on a used one", func() { r.answered(2) }, true},
		{"another answer on a new one", func() { r.answered(1) }, true},
		{"a request lost on a new connection", func() { r.lost(1) }, true},
		{"a request lost on a used one", func() { r.lost(3) }, false},
	} {
		if step.note(); r.proven != step.want {
			t.Errorf("after %s: proven is %v, want %v", step.what, r.proven, step.want)
		}
	}
}
