package retry

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

func TestBudgetBoundsRetriesInTheLongRun(t *testing.T) {
	for name, test := range map[string]struct {
		rate   int // requests a second, each wants as many retries as it can get
		budget mesh.Budget
		want   float64 // retries a request
	}{
		"default at 200 requests a second": {200, mesh.DefaultBudget, 0.2 + 10.0/200},
		"default at 1000":                  {1000, mesh.DefaultBudget, 0.2 + 10.0/1000},
		"no reserve":                       {100, mesh.Budget{Ratio: 0.1, TTL: 10 * time.Second}, 0.1},
		"reserve only":                     {100, mesh.Budget{MinPerSecond: 5, TTL: time.Second}, 0.05},
		"nothing":                          {100, mesh.Budget{TTL: time.Second}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(test.budget, 0)
			requests, retries := 0, 0
			step := time.Second / time.Duration(test.rate)
			for now := clock.Instant(0); now < clock.Instant(time.Minute); now = now.Add(step) {
				requests++
				b.Deposit(now)
				for range 3 {
					if b.Has(now) {
						b.Take(now)
						retries++
					}
				}
			}
			got := float64(retries) / float64(requests)
			if got > test.want*1.02+0.001 || got < test.want*0.95 {
				t.Errorf("%.3f retries a request, want %.3f", got, test.want)
			}
		})
	}
}

func TestBudgetForgetsOldRequests(t *testing.T) {
	b := NewBudget(mesh.Budget{Ratio: 1, TTL: 10 * time.Second}, 0)
	for range 100 {
		b.Deposit(0)
	}
	if !b.Has(clock.Instant(9 * time.Second)) {
		t.Error("the deposit is gone before its time")
	}
	if b.Has(clock.Instant(11 * time.Second)) {
		t.Error("the deposit outlived the window")
	}
	b.Deposit(clock.Instant(time.Hour))
	if !b.Has(clock.Instant(time.Hour)) || b.Has(clock.Instant(time.Hour+time.Minute)) {
		t.Error("the window does not survive a silence")
	}
}

func TestReserveIsNotSpentAtOnce(t *testing.T) {
	b := NewBudget(mesh.DefaultBudget, 0)
	n := 0
	for ; b.Has(0); n++ {
		b.Take(0)
	}
	if n != 10 {
		t.Errorf("%d retries in the first moment, want 10", n)
	}
	if b.Has(clock.Instant(50*time.Millisecond)) || !b.Has(clock.Instant(100*time.Millisecond)) {
		t.Error("the reserve does not fill by ten a second")
	}
}

func TestCovers(t *testing.T) {
	p := Policy{Retry: mesh.Retry{Statuses: []mesh.StatusRange{{First: 502, Last: 504}, {First: 429, Last: 429}},
		GRPC: 1<<14 | 1<<8}}
	for _, test := range []struct {
		status int
		grpc   int16
		want   bool
	}{
		{200, -1, false}, {500, -1, false}, {502, -1, true}, {503, -1, true}, {504, -1, true}, {505, -1, false},
		{429, -1, true},
		{200, 0, false}, {200, 14, true}, {200, 8, true}, {200, 13, false}, {503, 0, true}, {200, 200, false},
	} {
		if got := p.Covers(test.status, test.grpc); got != test.want {
			t.Errorf("%d with gRPC status %d: covered=%v", test.status, test.grpc, got)
		}
	}
}

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		attempt Attempt
		backoff time.Duration
		empty   bool
		want    Skip
	}{
		"first failure": {Attempt{}, 0, false, ""},
		"last retry":    {Attempt{Retries: 2}, 0, false, ""},
		"one too many":  {Attempt{Retries: 3}, 0, false, Limit},
		"body gone":     {Attempt{CannotResend: "body_too_large"}, 0, false, "body_too_large"},
		"retried below": {Attempt{Exhausted: true}, 0, false, Exhausted},
		"time enough": {Attempt{Bounded: true, Left: 21 * time.Millisecond,
			Expected: 10 * time.Millisecond}, 10 * time.Millisecond, false, ""},
		"time for the wait only": {Attempt{Bounded: true, Left: 20 * time.Millisecond,
			Expected: 10 * time.Millisecond}, 10 * time.Millisecond, false, Deadline},
		"deadline passed":                    {Attempt{Bounded: true}, 0, false, Deadline},
		"no token":                           {Attempt{}, 0, true, Overflow},
		"a limit is named before the budget": {Attempt{Retries: 3}, 0, true, Limit},
	} {
		t.Run(name, func(t *testing.T) {
			budget := mesh.DefaultBudget
			if test.empty {
				budget = mesh.Budget{}
			}
			p := Policy{Retry: mesh.Retry{Limit: 3, Backoff: test.backoff}, Service: NewBudget(budget, 0)}
			if _, got := p.Decide(test.attempt, 0); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestSkippedRetryCostsNothing makes sure that the Service's token stays where the rule has none.
func TestSkippedRetryCostsNothing(t *testing.T) {
	service := NewBudget(mesh.Budget{MinPerSecond: 1}, 0)
	p := Policy{Retry: mesh.Retry{Limit: 1}, Service: service, Own: NewBudget(mesh.Budget{}, 0)}
	if _, skip := p.Decide(Attempt{}, 0); skip != Overflow {
		t.Errorf("got %q", skip)
	}
	if !service.Has(0) {
		t.Error("the Service paid for a retry that did not happen")
	}
}

func TestBackoffDoublesAndSpreads(t *testing.T) {
	for _, test := range []struct {
		base time.Duration
		n    uint32
		draw float64
		want time.Duration
	}{
		{0, 5, 0.5, 0},
		{10 * time.Millisecond, 0, 0, 10 * time.Millisecond},
		{10 * time.Millisecond, 2, 0, 40 * time.Millisecond},
		{10 * time.Millisecond, 2, 0.5, 50 * time.Millisecond},
		{10 * time.Millisecond, 1 << 31, 0, maxBackoff},
		{time.Hour, 3, 0, maxBackoff},
	} {
		if got := Backoff(test.base, test.n, test.draw); got != test.want {
			t.Errorf("base %v, retry %d, draw %v: got %v, want %v", test.base, test.n, test.draw, got, test.want)
		}
	}
}

// TestFailuresAreMatchedInOrder has requests that overlap, whose calls end and whose answers come in any order.
func TestFailuresAreMatchedInOrder(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	const n = 200
	for name, order := range map[string]func(i int) int{
		"first come, first answered": func(i int) int { return i },
		"last come, first answered":  func(i int) int { return n - 1 - i },
		"mixed":                      func(i int) int { return i * 77 % n },
	} {
		t.Run(name, func(t *testing.T) {
			var f Failures
			for i := range n { // request i comes at 10i, its call is made 5 later
				call := order(i)
				f.Add(at(10*call+5), at(10*n+i))
			}
			for i := range n {
				if !f.Claim(at(10 * order(i))) {
					t.Fatalf("answer %d finds no failure", i)
				}
			}
		})
	}
}

func TestFailuresBelongToTheRequestThatSpansThem(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	var f Failures
	if f.Claim(at(0)) {
		t.Error("claimed what never was")
	}
	f.Add(at(10), at(20))
	if f.Claim(at(15)) {
		t.Error("the call was made before the request came")
	}
	if !f.Claim(at(5)) {
		t.Error("the call within the request was not found")
	}
	if f.Claim(at(5)) {
		t.Error("one failure was claimed twice")
	}
	for i := range 3 * remembered {
		f.Add(at(100+i), at(100+i))
	}
	n := 0
	for f.Claim(at(0)) {
		n++
	}
	if n != remembered {
		t.Errorf("%d failures are remembered, want %d", n, remembered)
	}
}

func TestWaitAfterRefusalDoublesAndEnds(t *testing.T) {
	const immediate = 3
	total, attempts := time.Duration(0), immediate
	for {
		wait, ok := WaitAfterRefusal(attempts, immediate)
		if !ok {
			break
		}
		total += wait
		attempts++
	}
	if want := 2550 * time.Millisecond; total != want || attempts != immediate+RefusalWaits {
		t.Errorf("got %v of pauses with %d attempts, want %v with %d", total, attempts, want, immediate+RefusalWaits)
	}
}
