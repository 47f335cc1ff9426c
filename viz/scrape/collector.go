package scrape

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// collector takes the series of one scrape. finish ends it, under a lock. ok says that the scrape is complete; the
// series of an incomplete one do not count.
type collector struct {
	add    func(metric string, one series) error
	finish func(ok bool)
}

// collectors makes the collectors of one question. It keeps little of each scrape: of the first, a value and a hash of
// each series; of the second, the sums only.
type collectors struct {
	sums     *sums
	limit    int           // the most series that are kept of one pod
	total    int           // the most series that are kept for all questions
	free     *atomic.Int64 // what is left of total
	reserved atomic.Int64  // what this question has taken of total
}

// sampleCost is how many series of a first scrape take the memory of one sample of an answer.
const sampleCost = 8

func (s *Source) newCollectors(sums *sums) *collectors {
	return &collectors{sums: sums, limit: s.cfg.MaxPodSeries, total: s.cfg.MaxSeries, free: &s.free}
}

// reserve takes a number of series from what is free. It returns false if fewer are free.
func (c *collectors) reserve(n int) bool {
	if c.free.Add(-int64(n)) < 0 {
		c.free.Add(int64(n))
		return false
	}
	c.reserved.Add(int64(n))
	return true
}

// release gives a number of reserved series back.
func (c *collectors) release(n int) {
	c.free.Add(int64(n))
	c.reserved.Add(-int64(n))
}

// close releases all that the question has reserved.
func (c *collectors) close() { c.release(int(c.reserved.Load())) }

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

// podQuota bounds the series that are kept of one pod.
type podQuota struct {
	all  *collectors
	used int
	err  error // why the last reserve failed
}

// reserve counts one more series, which costs n of the total. It returns false, and sets err, beyond a bound.
func (b *podQuota) reserve(n int) bool {
	switch {
	case b.used >= b.all.limit:
		b.err = fmt.Errorf("it has more than %d series that the query needs", b.all.limit)
	case !b.all.reserve(n):
		b.err = fmt.Errorf("all pods together have more than %d series; ask for one namespace", b.all.total)
	default:
		b.used++
		return true
	}
	return false
}

// forNow returns a collector that adds the values of a scrape to the queries that ask for values now.
func (c *collectors) forNow(t *target, _ time.Time) collector {
	return c.summed(t, func(q metrics.Query, _ series, value float64) (float64, bool) { return value, q.Now })
}

// forFirst returns a collector that keeps the values of the first scrape, where a query asks for an increase.
func (c *collectors) forFirst(t *target, at time.Time) collector {
	values, quota := map[key]float64{}, &podQuota{all: c}
	each := c.forEachQuery(t, func(i int, l targetSeries) {
		if q := c.sums.queries[i]; !q.Now {
			k := keyOf(q.Metric, l.labelText)
			if _, kept := values[k]; kept || quota.reserve(1) {
				values[k] = l.value
			}
		}
	})
	return collector{
		add: func(metric string, one series) error {
			each(metric, one)
			return quota.err
		},
		finish: func(ok bool) {
			if t.at, t.first = at, values; !ok {
				t.first = nil
				c.release(quota.used)
			}
		},
	}
}

// forSecond returns a collector that adds the increase of each series since the first scrape. A series that is new
// counts from 0, and so does one whose value is lower than before: its process has restarted. Like Prometheus, it
// extrapolates to the whole window, because the time between two scrapes is never exactly the window.
func (c *collectors) forSecond(t *target, at time.Time) collector {
	factor := 1.0
	if between := at.Sub(t.at); !t.isNew && between > 0 {
		factor = float64(c.sums.window) / float64(between)
	}
	return c.summed(t, func(q metrics.Query, one series, value float64) (float64, bool) {
		if q.Now {
			return value, true
		}
		if before := t.first[keyOf(q.Metric, one.labelText)]; before <= value {
			value -= before
		}
		return value * factor, true
	})
}

// summed returns a collector that adds up what value returns for each series and query.
func (c *collectors) summed(t *target, value func(metrics.Query, series, float64) (float64, bool)) collector {
	own, quota := newSums(c.sums.queries, c.sums.window), &podQuota{all: c}
	each := c.forEachQuery(t, func(i int, l targetSeries) {
		if v, counts := value(own.queries[i], l.series, l.value); counts {
			own.add(i, l, v, func() bool { return quota.reserve(sampleCost) })
		}
	})
	return collector{
		add: func(metric string, one series) error {
			each(metric, one)
			return quota.err
		},
		finish: func(ok bool) {
			unused := quota.used
			if ok {
				unused = c.sums.merge(own)
			}
			c.release(unused*sampleCost + len(t.first))
			t.first = nil
		},
	}
}

// forEachQuery returns a function that calls use for each query that selects the series.
func (c *collectors) forEachQuery(t *target, use func(query int, l targetSeries)) func(metric string, one series) {
	queries := map[string][]int{}
	for i, q := range c.sums.queries {
		if mayMatch(q, t.labels) {
			queries[q.Metric] = append(queries[q.Metric], i)
		}
	}
	return func(metric string, one series) {
		if math.IsNaN(one.value) || math.IsInf(one.value, 0) {
			return
		}
		l := targetSeries{series: one, target: t.labels}
		for _, i := range queries[metric] {
			if c.sums.queries[i].Selects(l.label) {
				use(i, l)
			}
		}
	}
}
