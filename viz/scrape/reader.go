package scrape

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// collector takes the series of one scrape. done ends it, under a lock. ok says that the scrape is complete: what there
// is of one that is not does not count.
type collector struct {
	use  func(metric string, one series) error
	done func(ok bool)
}

// reader reads the pods for one question. It keeps no series longer than it has to: of the first scrape a value and a
// hash of what names the series, of the second the sums.
type reader struct {
	sums  *sums
	limit int           // series that are kept of one pod
	total int           // series that are kept for all questions
	room  *atomic.Int64 // what is left of total
	spent atomic.Int64  // of it by this question
}

// sampleCost is how many series of a first scrape take the memory of one sample of an answer.
const sampleCost = 8

func (s *Source) newReader(sums *sums) *reader {
	return &reader{sums: sums, limit: s.cfg.MaxPodSeries, total: s.cfg.MaxSeries, room: &s.room}
}

// spend takes room, which may be less than nothing to give it back. It returns false if there is not enough.
func (r *reader) spend(cost int) bool {
	if r.room.Add(-int64(cost)) < 0 && cost > 0 {
		r.room.Add(int64(cost))
		return false
	}
	r.spent.Add(int64(cost))
	return true
}

// close gives all room back.
func (r *reader) close() { r.spend(-int(r.spent.Load())) }

// key is a hash of a series of one pod. It has a seed, so that no pod can make two series with one key.
type key uint64

var seed = maphash.MakeSeed()

func keyOf(metric, labels string) key {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(metric)
	_, _ = h.WriteString(labels)
	return key(h.Sum64())
}

// budget is the room of one pod.
type budget struct {
	r    *reader
	used int
	err  error
}

// take reports whether one more series has room.
func (b *budget) take(cost int) bool {
	switch {
	case b.used >= b.r.limit:
		b.err = fmt.Errorf("it has more than %d series that matter", b.r.limit)
	case !b.r.spend(cost):
		b.err = fmt.Errorf("there is no room for its series: %d of others are kept; ask for one namespace", b.r.total)
	default:
		b.used++
		return true
	}
	return false
}

// now adds the values of a scrape to the queries that ask for values now.
func (r *reader) now(t *target, _ time.Time) collector {
	return r.summing(t, func(q metrics.Query, _ series, value float64) (float64, bool) { return value, q.Now })
}

// first keeps the values of the first scrape that an increase needs.
func (r *reader) first(t *target, at time.Time) collector {
	values, room := map[key]float64{}, &budget{r: r}
	each := r.each(t, func(i int, l labelled) {
		if q := r.sums.queries[i]; !q.Now {
			k := keyOf(q.Metric, l.text)
			if _, kept := values[k]; kept || room.take(1) {
				values[k] = l.value
			}
		}
	})
	return collector{
		use: func(metric string, one series) error {
			each(metric, one)
			return room.err
		},
		done: func(ok bool) {
			if t.at, t.first = at, values; !ok {
				t.first = nil
				r.spend(-room.used)
			}
		},
	}
}

// second adds what the series of a target increased by since its first scrape. A series that is new counts from 0, as
// does one that is less than before: its process began again. As Prometheus does, it extrapolates to the whole window,
// because the time between two scrapes is never exactly the window.
func (r *reader) second(t *target, at time.Time) collector {
	factor := 1.0
	if between := at.Sub(t.at); !t.late && between > 0 {
		factor = float64(r.sums.window) / float64(between)
	}
	return r.summing(t, func(q metrics.Query, one series, value float64) (float64, bool) {
		if q.Now {
			return value, true
		}
		if before := t.first[keyOf(q.Metric, one.text)]; before <= value {
			value -= before
		}
		return value * factor, true
	})
}

// summing adds up what value says of each series for each query.
func (r *reader) summing(t *target, value func(metrics.Query, series, float64) (float64, bool)) collector {
	own, room := newSums(r.sums.queries, r.sums.window), &budget{r: r}
	each := r.each(t, func(i int, l labelled) {
		if v, counts := value(own.queries[i], l.series, l.value); counts {
			own.add(i, l, v, func() bool { return room.take(sampleCost) })
		}
	})
	return collector{
		use: func(metric string, one series) error {
			each(metric, one)
			return room.err
		},
		done: func(ok bool) {
			free := room.used
			if ok {
				free = r.sums.merge(own)
			}
			r.spend(-free*sampleCost - len(t.first))
			t.first = nil
		},
	}
}

// each returns a function that calls use for each query that selects a series of the target.
func (r *reader) each(t *target, use func(query int, l labelled)) func(metric string, one series) {
	queries := map[string][]int{}
	for i, q := range r.sums.queries {
		if mayMatch(q, t.labels) {
			queries[q.Metric] = append(queries[q.Metric], i)
		}
	}
	return func(metric string, one series) {
		if math.IsNaN(one.value) || math.IsInf(one.value, 0) {
			return
		}
		l := labelled{series: one, target: t.labels}
		for _, i := range queries[metric] {
			if r.sums.queries[i].Selects(l.label) {
				use(i, l)
			}
		}
	}
}
