package stats

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Peers and applications choose some labels: identities, addresses, statuses. This file bounds what that costs: the
// series and the bytes of one scrape.
//
// Each label set pays for its series when it is made, and for more when it grows. If there is no room, the label sets
// that have been idle longest go first. One that somebody still holds is hidden, and shown again with its counts when
// it changes. If nothing is idle, a new label set is counted under overflow="true".

// side is a part of the series that has a bound of its own, so that strangers who call the pod cannot evict what the
// pod calls.
type side uint8

const (
	inboundSide side = iota
	outboundSide
	ownSide // about the proxy itself: a fixed number of series, without a bound
	sides
)

// cost is what series take in a scrape.
type cost struct{ series, bytes int }

// limits are the bounds of the sides. Inbound has room for about 200 pairs of a client identity and a port in use at
// the same time, and outbound for about 500 endpoints.
var limits = [sides]cost{
	inboundSide:  {series: 15_000, bytes: 8 << 20},
	outboundSide: {series: 40_000, bytes: 24 << 20},
}

// MaxAnswered is how many addresses of the pod that nobody declares may have labels of their own, because an
// application answered there.
const MaxAnswered = 64

const (
	// seriesBytes is what a series takes beside the labels that its group shares: its name, its own labels and its value.
	seriesBytes = 144
	// evictPart says how much is evicted at once: one part of so many. To look for idle label sets takes time with their
	// number.
	evictPart = 8
	// scanInterval is how many uses pass until the registry looks again after it found too little to evict.
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

// side returns which bound a label set is under.
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

// folded returns the label set that counts for k when there is no room for it.
func (k seriesKey) folded() seriesKey {
	k.labels = k.labels.only("peer", "direction").With("overflow", "true")
	return k
}

// entry is a label set, its series and its holders. Registry.mu guards its fields.
type entry struct {
	key     seriesKey
	group   group
	holders int
	holds   int  // how often somebody began to hold it
	shown   bool // its series are in scrapes, and paid for
	side    side
	cost    cost
	seen    uint64        // activity at the last look
	changed time.Duration // when the last look found a change
	looks   int           // that found one
	used    uint64        // Registry.uses when it was held or released last
	// idleSince is the last sweep that found a holder or a change, or the one before the release.
	idleSince time.Duration
}

// look notes whether the series changed since the last look.
func (e *entry) look(now time.Duration) (changed bool) {
	a := e.group.activity()
	if a == e.seen {
		return false
	}
	e.seen, e.changed = a, now
	e.looks++
	return true
}

// recent reports whether the series changed in this minute or the last one.
func (e *entry) recent(now time.Duration) bool {
	return e.group.activity() != e.seen || e.looks > 0 && e.changed == now
}

// evictable reports whether the label set may make room. One with open connections stays. So does one that is in use
// and was in use before: who tries every label once must not evict those that come back.
func (e *entry) evictable(now time.Duration) bool {
	if !e.shown || e.key.overflow() {
		return false
	}
	if o, ok := e.group.(interface{ open() bool }); ok && o.open() {
		return false
	}
	return !e.recent(now) || e.holds < 2 && e.looks == 0
}

// room is what a group grows in. The zero room has no bound.
type room struct {
	registry *Registry
	entry    *entry
}

// take pays for more series of the group; it is false if there is no room.
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

// show pays for an entry's series; it is false if there is no room.
func (r *Registry) show(e *entry) bool {
	if !e.key.overflow() && !r.makeRoom(e.side, e.cost, e) {
		return false
	}
	e.shown = true
	r.spent[e.side] = r.spent[e.side].plus(e.cost)
	return true
}

// hide takes an entry's series out of scrapes.
func (r *Registry) hide(e *entry) {
	e.shown = false
	r.spent[e.side] = r.spent[e.side].minus(e.cost)
}

// makeRoom evicts idle label sets other than except until there is room for need.
func (r *Registry) makeRoom(s side, need cost, except *entry) bool {
	if s == ownSide {
		return true
	}
	limit := r.limits[s]
	if r.spent[s].plus(need).within(limit) {
		return true
	}
	if r.fruitless[s] > 0 && r.uses-r.fruitless[s] < scanInterval {
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
	r.fruitless[s] = r.uses
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

// evict hides a label set, and forgets it if nobody holds it.
func (r *Registry) evict(e *entry) {
	r.hide(e)
	e.look(r.now) // what it counted until now does not bring it back
	if e.holders == 0 {
		delete(r.entries, e.key)
	}
	r.count(evictedTotal, e.key)
}

// overflowed counts that there was no room.
func (r *Registry) overflowed(k seriesKey) { r.count(overflowTotal, k) }

// count adds one to a counter of the registry itself, labelled with the metric that k is about.
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
