package balance

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

// consecutive has Linkerd's defaults, without jitter.
var consecutive = &mesh.Accrual{MaxFailures: 7, MinPenalty: time.Second, MaxPenalty: 60 * time.Second}

// rounds picks n times and ends each attempt with the result of its endpoint. It returns how often each was picked.
func rounds(p *Pool[int], now clock.Instant, n int, result func(item int) AttemptResult) map[int]int {
	picked := map[int]int{}
	for range n {
		slot, item, ok := p.Pick(now)
		if !ok {
			return picked
		}
		picked[item]++
		p.Done(slot, result(item), now, 10*time.Millisecond)
	}
	return picked
}

func failing(items ...int) func(int) AttemptResult {
	return func(item int) AttemptResult {
		for _, i := range items {
			if i == item {
				return Failed
			}
		}
		return Responded
	}
}

func accruing(n int, a *mesh.Accrual) *Pool[int] {
	p := &Pool[int]{}
	p.Update(endpoints(n), 0)
	p.SetAccrual(a)
	return p
}

func TestConsecutiveFailuresEject(t *testing.T) {
	p := accruing(4, consecutive)
	if got := rounds(p, 0, 500, failing(2))[2]; got != 7 {
		t.Errorf("the failing endpoint got %d requests, want 7", got)
	}
	if got := p.States(0); got != (States{Ready: 3, Ejected: 1}) {
		t.Errorf("states are %+v", got)
	}
	if got := rounds(p, clock.Instant(999*time.Millisecond), 500, failing(2))[2]; got != 0 {
		t.Errorf("an ejected endpoint got %d requests", got)
	}
}

func TestSuccessStartsTheCountAnew(t *testing.T) {
	p := accruing(2, consecutive)
	n := 0
	rounds(p, 0, 1000, func(item int) AttemptResult {
		if item == 1 {
			if n++; n%7 != 0 {
				return Failed
			}
		}
		return Responded
	})
	if got := p.States(0).Ejected; got != 0 {
		t.Errorf("%d ejected, although no seven failures came in a row", got)
	}
}

func TestOneProbeReadmits(t *testing.T) {
	p := accruing(4, consecutive)
	rounds(p, 0, 500, failing(2))
	penalty := time.Second
	for range 8 { // each probe fails, and the penalty doubles up to a minute
		at := penalty
		if got := rounds(p, clock.Instant(at), 500, failing(2))[2]; got != 1 {
			t.Fatalf("%d probes, want 1", got)
		}
		p2 := min(2*penalty, time.Minute)
		if got := rounds(p, clock.Instant(at+p2-1), 500, failing(2))[2]; got != 0 {
			t.Fatalf("%d requests within the penalty of %v", got, p2)
		}
		shift(p, clock.Instant(at))
		penalty = p2
	}
	if got := rounds(p, clock.Instant(penalty), 1000, failing())[2]; got < 100 {
		t.Errorf("after a probe that succeeded, %d of 1000 requests", got)
	}
	if got := p.States(clock.Instant(penalty)); got.Ejected != 0 {
		t.Errorf("states are %+v", got)
	}
	if got := rounds(p, clock.Instant(penalty), 500, failing(2))[2]; got != 7 {
		t.Errorf("ejected again after %d failures, want 7", got)
	}
	if got := rounds(p, clock.Instant(penalty+time.Second), 500, failing(2))[2]; got != 1 {
		t.Errorf("the penalty did not begin anew: %d probes", got)
	}
}

// shift moves the times of the pool's endpoints so that now is 0.
func shift(p *Pool[int], now clock.Instant) {
	for i := range p.slots {
		p.slots[i].retryAt -= int64(now)
		p.slots[i].stamp -= int64(now)
	}
}

func TestProbesAreSingleWhileTheyAreUnderWay(t *testing.T) {
	p := accruing(4, consecutive)
	rounds(p, 0, 500, failing(2))
	var probe Slot
	n := 0
	for range 500 {
		slot, item, _ := p.Pick(clock.Instant(time.Second))
		if item == 2 {
			probe, n = slot, n+1
			continue
		}
		p.Done(slot, Responded, clock.Instant(time.Second), time.Millisecond)
	}
	if n != 1 {
		t.Fatalf("%d probes at once", n)
	}
	p.Done(probe, Abandoned, clock.Instant(time.Second), 0) // the client disconnected
	if got := rounds(p, clock.Instant(time.Second), 500, failing(2))[2]; got != 1 {
		t.Errorf("%d probes after one that told nothing, want 1", got)
	}
}

// TestLateAnswersAreNoProbes ends requests that were in flight when their endpoint was ejected.
func TestLateAnswersAreNoProbes(t *testing.T) {
	p := accruing(2, consecutive)
	var late []Slot
	for range 20 {
		slot, item, _ := p.Pick(0)
		if item == 1 {
			late = append(late, slot)
		}
	}
	for range consecutive.MaxFailures {
		p.Done(late[0], Failed, 0, time.Millisecond)
		late = late[1:]
	}
	if p.States(0).Ejected != 1 {
		t.Fatal("nothing was ejected")
	}
	p.Done(late[0], Responded, 0, time.Millisecond)
	p.Done(late[1], Failed, 0, time.Millisecond)
	p.Done(late[2], Unreachable, 0, 0)
	if p.States(0).Ejected != 1 {
		t.Error("a late success readmits")
	}
	if got := rounds(p, clock.Instant(time.Second), 500, failing(1))[1]; got != 1 {
		t.Errorf("%d probes after the first penalty, want 1", got)
	}
}

func TestAtMostHalfIsEjected(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 10: 5} {
		p := accruing(n, consecutive)
		rounds(p, 0, 1000*n, func(int) AttemptResult { return Failed })
		if got := p.States(0).Ejected; got != want {
			t.Errorf("%d of %d are ejected, want %d", got, n, want)
		}
		if _, _, ok := p.Pick(0); !ok {
			t.Errorf("nobody is left of %d", n)
		}
	}
}

func TestHalfIsKeptWhenOthersLeave(t *testing.T) {
	p := accruing(10, consecutive)
	rounds(p, 0, 5000, failing(0, 1, 2, 3, 4))
	if p.States(0).Ejected != 5 {
		t.Fatalf("states are %+v", p.States(0))
	}
	p.Update(endpoints(6), 0) // the ejected ones stay
	if got := p.States(0); got != (States{Ready: 3, Ejected: 3}) {
		t.Errorf("states are %+v", got)
	}
	p.SetAccrual(nil)
	if got := p.States(0); got != (States{Ready: 6}) {
		t.Errorf("without accrual: %+v", got)
	}
}

func TestConnectFailuresEject(t *testing.T) {
	p := accruing(2, consecutive)
	now := clock.Instant(0)
	for n := 0; p.States(now).Ejected == 0; n++ {
		if n > 10_000 {
			t.Fatal("never ejected")
		}
		now = now.Add(10 * time.Millisecond)
		rounds(p, now, 1, func(item int) AttemptResult {
			if item == 1 {
				return Unreachable
			}
			return Responded
		})
	}
}

func TestLowSuccessRateEjects(t *testing.T) {
	a := &mesh.Accrual{SuccessRate: 0.8, Window: 10 * time.Second, MinRequests: 5, MinPenalty: time.Second,
		MaxPenalty: time.Minute}
	for name, test := range map[string]struct {
		every int // one of this many fails
		want  int
	}{"three of four succeed": {4, 1}, "nine of ten succeed": {10, 0}, "none succeeds": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			p := accruing(2, a)
			n := 0
			const end, step = clock.Instant(time.Minute), 50 * time.Millisecond
			for now := clock.Instant(0); now < end && p.States(now).Ejected == 0; now = now.Add(step) {
				rounds(p, now, 2, func(item int) AttemptResult {
					if item == 1 {
						if n++; n%test.every == 0 {
							return Failed
						}
					}
					return Responded
				})
			}
			if got := p.ejected; got != test.want {
				t.Errorf("%d ejected, want %d", got, test.want)
			}
			if test.every == 1 && n != 5 {
				t.Errorf("ejected after %d requests, want 5", n)
			}
		})
	}
}

func TestQuickFailuresDoNotAttract(t *testing.T) {
	for name, result := range map[string]AttemptResult{"fails": Failed, "sheds load": Shed} {
		t.Run(name, func(t *testing.T) {
			p := accruing(2, nil)
			now := clock.Instant(0)
			picked := map[int]int{}
			for range 2000 {
				now = now.Add(10 * time.Millisecond)
				slot, item, _ := p.Pick(now)
				picked[item]++
				if item == 1 {
					p.Done(slot, result, now, time.Millisecond) // without delay
				} else {
					p.Done(slot, Responded, now, 20*time.Millisecond)
				}
			}
			if picked[1] > 1200 {
				t.Errorf("the endpoint that %s quickly got %d of 2000 requests", name, picked[1])
			}
		})
	}
}
