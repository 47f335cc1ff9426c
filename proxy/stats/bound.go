package stats

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

// Peers and applications choose some labels: identities, addresses, statuses. This file bounds the cost: the series and
// the bytes of one scrape.
//
// Each label set pays for its series when it is made, and pays more when it grows. If there is no room, the label sets
// that have been idle longest are evicted first. A label set with a holder is only hidden, and shown again with its
// counters at 0 when it changes. If nothing is idle, a new label set is counted under overflow="true".

// side is a part of the series that has its own bound. So strangers who call the pod cannot evict the series of the
// pod's own calls.
type side uint8

const (
	inboundSide side = iota
	outboundSide
	ownSide // about the proxy itself: a fixed number of series, without a bound
	sides
)

// cost is the room that series occupy in a scrape.
type cost struct{ series, bytes int }

// limits are the bounds of the sides. Inbound has room for about 200 pairs of a client identity and a port in use at
// the same time. Outbound has room for about 500 endpoints.
var limits = [sides]cost{
	inboundSide:  {series: 15_000, bytes: 8 << 20},
	outboundSide: {series: 40_000, bytes: 24 << 20},
}

// MaxAnswered is the largest number of undeclared addresses of the pod that have their own labels because an
// application accepted a connection there.
const MaxAnswered = 64

const (
	// seriesBytes is the size of a series without the labels that its group shares: its name, its own labels and its
	// value.
	seriesBytes = 144
	// evictPart is the divisor of the part that is evicted at once. The search for idle label sets takes time in
	// proportion to their number.
	evictPart = 8
	// scanInterval is how many uses pass before the registry searches again, after it found too little to evict.
	scanInterval = 256
)

func costOf(labels Labels, series int) cost {
	return cost{series: series, bytes: series * (len(labels) + seriesBytes)}
}

func (c cost) plus(d cost) cost    { return cost{c.series + d.series, c.bytes + d.bytes} }
func (c cost) minus(d cost) cost   { return cost{c.series - d.series, c.bytes - d.bytes} }
func (c cost) within(d cost) bool  { return c.series <= d.series && c.bytes <= d.bytes }
func (c cost) part(n int) cost     { return cost{c.series / n, c.bytes / n} }
func (k seriesKey) overflow() bool { return k.labels.Has("overflow") }

// side returns the side whose bound applies to a label set.
func (k seriesKey) side() side {
	name := families[k.family].Name
	switch {
	case k.kind == controlGroup, name == overflowTotal, name == evictedTotal:
		return ownSide
	case strings.HasPrefix(name, "inbound_"), strings.Contains(string(k.labels), `direction="inbound"`):
		return inboundSide
	default:
		return outboundSide
	}
}

// folded returns the label set that counts for k if there is no room for k.
func (k seriesKey) folded() seriesKey {
	k.labels = k.labels.only("peer", "direction").With("overflow", "true")
	return k
}

// entry is a label set, its series and its holders. Registry.mu guards its fields.
type entry struct {
	key      seriesKey
	group    group
	holders  int
	acquired int  // how often a holder acquired it
	shown    bool // its series are in scrapes, and paid for
	side     side
	cost     cost
	seen     uint64        // activity at the last look
	changed  clock.Instant // when the last look found a change
	looks    int           // the number of looks that found a change
	scraped  uint64        // activity at the last scrape that had the series
	used     uint64        // Registry.uses at the last acquisition or release
	// base is what the series counted when they were hidden; nil if they never were.
	base map[uint64]float64
	// idleSince is the last sweep that found a holder or a change, or the one before the release.
	idleSince clock.Instant
}

// look notes whether the series changed since the last look.
func (e *entry) look(now clock.Instant) (changed bool) {
	a := e.group.activity()
	if a == e.seen {
		return false
	}
	e.seen, e.changed = a, now
	e.looks++
	return true
}

// recent reports whether the series changed in this minute or the last one.
func (e *entry) recent(now clock.Instant) bool {
	return e.group.activity() != e.seen || e.looks > 0 && e.changed == now
}

// evictable reports whether the label set may be evicted. One with open connections stays. So does one with a holder
// and counts that no scrape has shown: when it is shown again, it starts at 0, and they would be lost. One that is in
// use now and was in use before stays too: a client that tries every label once must not evict returning clients.
func (e *entry) evictable(now clock.Instant) bool {
	if !e.shown || e.key.overflow() {
		return false
	}
	if o, ok := e.group.(interface{ open() bool }); ok && o.open() {
		return false
	}
	if e.holders > 0 && e.group.activity() != e.scraped {
		return false
	}
	return !e.recent(now) || e.acquired < 2 && e.looks == 0
}

// room bounds the growth of a group. The zero room has no bound.
type room struct {
	registry *Registry
	entry    *entry
}

// take pays for more series of the group. It returns false if there is no room.
func (m room) take(series int) bool {
	r, e := m.registry, m.entry
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	more := costOf(e.key.labels, series)
	if e.shown && !r.makeRoom(e.side, more, e) {
		r.overflowed(e.key)
		return false
	}
	e.cost = e.cost.plus(more)
	if e.shown {
		r.spent[e.side] = r.spent[e.side].plus(more)
	}
	return true
}

// show pays for an entry's series and adds them to scrapes. It returns false if there is no room.
func (r *Registry) show(e *entry) bool {
	if !e.key.overflow() && !r.makeRoom(e.side, e.cost, e) {
		return false
	}
	e.shown = true
	r.spent[e.side] = r.spent[e.side].plus(e.cost)
	return true
}

// hide removes an entry's series from scrapes.
func (r *Registry) hide(e *entry) {
	e.shown = false
	r.spent[e.side] = r.spent[e.side].minus(e.cost)
}

// makeRoom evicts idle label sets, but not except, until there is room for need.
func (r *Registry) makeRoom(s side, need cost, except *entry) bool {
	if s == ownSide {
		return true
	}
	limit := r.limits[s]
	if r.spent[s].plus(need).within(limit) {
		return true
	}
	if r.lastFailedScan[s] > 0 && r.uses-r.lastFailedScan[s] < scanInterval {
		return false
	}
	var idle []*entry
	for _, e := range r.entries {
		if e.side == s && e != except && e.evictable(r.now) {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int {
		return cmp.Or(compareBools(a.recent(r.now), b.recent(r.now)), cmp.Compare(a.changed, b.changed),
			cmp.Compare(a.used, b.used))
	})
	goal := limit.minus(limit.part(evictPart))
	for _, e := range idle {
		if r.spent[s].plus(need).within(goal) {
			break
		}
		r.evict(e)
	}
	if r.spent[s].plus(need).within(limit) {
		return true
	}
	r.lastFailedScan[s] = r.uses
	return false
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// evict hides a label set, and drops it if it has no holder.
func (r *Registry) evict(e *entry) {
	r.hide(e)
	if e.holders == 0 {
		delete(r.entries, e.key)
	} else {
		e.base = baseOf(e.group)
	}
	e.look(r.now) // its earlier counts do not show it again
	r.count(evictedTotal, e.key)
}

// overflowed counts a lack of room.
func (r *Registry) overflowed(k seriesKey) { r.count(overflowTotal, k) }

// count adds one to a counter about the registry itself, with a label that names the metric of k.
func (r *Registry) count(family string, k seriesKey) {
	labels := Labels("").With("family", families[k.family].Name)
	e := r.entry(seriesKey{counterGroup, lookup(family), labels}, newCounter)
	e.group.(*Counter).Inc()
}

// showChanged shows the hidden label sets that are in use again.
func (r *Registry) showChanged() {
	for _, e := range r.entries {
		if !e.shown && e.group.activity() != e.seen && r.show(e) {
			e.look(r.now)
		}
	}
}
