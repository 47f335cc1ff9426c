package forward

import (
	"slices"
	"time"
)

// budget is a token bucket against peers that cause useless work. What a peer achieves fills it too, so that a busy
// honest peer never runs out.
type budget struct {
	burst, rate float64 // tokens at most; tokens a second
	used        float64
	at          time.Time
}

// spend takes a token and reports whether there was one.
func (b *budget) spend(now time.Time) bool { return b.take(now, 1) }

// take takes n tokens and reports whether there were so many.
func (b *budget) take(now time.Time, n float64) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	b.used += n
	return b.used <= b.burst
}

// refund gives n tokens back.
func (b *budget) refund(n float64) { b.used = max(0, b.used-n) }

// recent remembers the streams that were reset last. Frames of theirs may still arrive, for as many as may be open at
// once.
type recent struct {
	ids []uint32 // a ring once it is full
	at  int
}

func (r *recent) add(id uint32, most int) {
	if len(r.ids) < most {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.at] = id
	r.at = (r.at + 1) % most
}

func (r *recent) has(id uint32) bool { return slices.Contains(r.ids, id) }
