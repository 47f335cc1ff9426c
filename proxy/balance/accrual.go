package balance

import (
	"time"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

// An endpoint that keeps failing is ejected: it gets no requests for a penalty time, and then a single one, the probe.
// If the probe succeeds, the endpoint is admitted again; if it fails, the penalty doubles. At most half of a pool is
// ejected, and never its last endpoint: if all pods of a Service fail, failing pods are better than none.

// window counts the responses of one endpoint in two halves of Accrual.Window. The older half is dropped when the newer
// one ends.
type window struct {
	total, good [2]uint32 // the older half first
	began       int64     // when the newer half began
}

// SetAccrual sets when endpoints are ejected; nil means never, and admits all. The Accrual must not change afterwards.
func (p *Pool[T]) SetAccrual(a *mesh.Accrual) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accrual = a
	if a == nil {
		for i := range p.slots {
			p.admit(int32(i))
		}
	}
	if a == nil || a.SuccessRate <= 0 {
		p.windows = nil
	}
}

// mayEject is how many endpoints may be ejected at once.
func (p *Pool[T]) mayEject() int { return len(p.live) / 2 }

// admit ends an ejection.
func (p *Pool[T]) admit(i int32) {
	s := &p.slots[i]
	if !s.ejected {
		return
	}
	s.ejected, s.failures, s.backoff, s.retryAt = false, 0, 0, 0
	if s.item >= 0 {
		p.ejected--
	}
	if int(i) < len(p.windows) {
		p.windows[i] = window{}
	}
}

// trim admits endpoints while too many are ejected, because other endpoints left. It begins with those whose penalty
// ends first.
func (p *Pool[T]) trim() {
	p.ejected = 0
	for _, i := range p.live {
		if p.slots[i].ejected {
			p.ejected++
		}
	}
	for p.ejected > p.mayEject() {
		first := int32(-1)
		for _, i := range p.live {
			if s := &p.slots[i]; s.ejected && (first < 0 || s.retryAt < p.slots[first].retryAt) {
				first = i
			}
		}
		p.admit(first)
	}
}

// evaluate ejects or admits an endpoint after an attempt.
func (p *Pool[T]) evaluate(chosen Slot, failed bool, now int64) {
	a, s := p.accrual, &p.slots[chosen.index]
	if a == nil || s.item < 0 {
		return
	}
	switch {
	case s.ejected && chosen.probe && failed:
		p.penalise(s, now)
	case s.ejected && chosen.probe:
		p.admit(chosen.index)
	case s.ejected: // the attempt began before the ejection
	default:
		bad := p.count(chosen.index, failed, now)
		if !failed {
			s.failures = 0
			return
		}
		s.failures++
		if (bad || a.MaxFailures > 0 && s.failures >= a.MaxFailures) && p.ejected < p.mayEject() {
			s.ejected = true
			p.ejected++
			p.penalise(s, now)
		}
	}
}

// penalise sets the end of an ejection. The penalty doubles each time.
func (p *Pool[T]) penalise(s *slot, now int64) {
	least, most := int64(p.accrual.MinPenalty), int64(p.accrual.MaxPenalty)
	s.backoff = max(backoff.Double(s.backoff, least, most), 1)
	jitter := int64(float64(s.backoff) * p.accrual.Jitter * float64(p.random(1024)) / 1024)
	s.retryAt = now + s.backoff + jitter
}

// count notes a response and reports whether the success rate is too low.
func (p *Pool[T]) count(i int32, failed bool, now int64) bool {
	a := p.accrual
	if a.SuccessRate <= 0 {
		return false
	}
	for int(i) >= len(p.windows) {
		p.windows = append(p.windows, window{})
	}
	w, half := &p.windows[i], int64(max(a.Window, 2*time.Millisecond)/2)
	switch age := now - w.began; {
	case age >= 2*half:
		*w = window{began: now}
	case age >= half:
		w.total[0], w.good[0] = w.total[1], w.good[1]
		w.total[1], w.good[1] = 0, 0
		w.began += half
	}
	w.total[1]++
	if !failed {
		w.good[1]++
	}
	total, good := w.total[0]+w.total[1], w.good[0]+w.good[1]
	return total >= max(a.MinRequests, 1) && float64(good) < a.SuccessRate*float64(total)
}

// States counts a pool's endpoints in each state.
type States struct {
	// Ready endpoints may be chosen. Pending ones are in back-off because a connection failed. Ejected ones failed too
	// often.
	Ready, Pending, Ejected int
}

// States counts the endpoints.
func (p *Pool[T]) States(now clock.Instant) (st States) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.live {
		switch s := &p.slots[i]; {
		case s.ejected:
			st.Ejected++
		case s.retryAt > int64(now):
			st.Pending++
		default:
			st.Ready++
		}
	}
	return st
}
