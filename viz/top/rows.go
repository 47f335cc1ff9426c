// Package top is live traffic as a table that changes: `tulle viz top`.
//
// It owns how the events of a request become a row, the order and the bounds of the rows, and the screen. It must not
// know where events come from. The one idea: the rows are plain values with no terminal in them, so a stream that a
// test feeds shows what a user sees.
package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// Bounds of what is kept.
const (
	// maxRows bounds the rows. Beyond it the one with the fewest requests goes, the oldest first.
	maxRows = 1000
	// maxOpen bounds the requests whose end has not been seen. Beyond it all are forgotten: their ends were lost.
	maxOpen = 16 << 10
)

// Options say what the rows tell apart.
type Options struct {
	// HideSources joins requests of all sources. Routes tells routes apart instead of methods and paths.
	HideSources, Routes bool
}

// key is what requests of one row share. The fields that the options hide are "".
type key struct{ source, destination, method, path, route string }

// row is the requests that share a key.
type row struct {
	key
	count, succeeded  int
	best, worst, last time.Duration
	seen              uint64 // the number of its last request
}

func (r *row) success() float64 { return float64(r.succeeded) / float64(r.count) }

// Rows collects the requests of a watch. It is for one goroutine. The zero value is ready.
type Rows struct {
	Options

	rows    map[key]*row
	open    map[streamID]*request
	ended   uint64 // requests so far
	dropped int    // rows that went because there were too many
}

// streamID names a request in a watch.
type streamID struct {
	proxy string
	id    tap.StreamID
}

// request is one whose end has not been seen.
type request struct {
	key
	status int
}

// Add takes an event. A request counts once it has ended. Connections that are not HTTP do not count.
func (r *Rows) Add(e *tap.Event) {
	if r.rows == nil {
		r.rows, r.open = map[key]*row{}, map[streamID]*request{}
	}
	switch {
	case e.RequestInit != nil:
		if len(r.open) >= maxOpen {
			clear(r.open)
		}
		r.open[streamID{e.Proxy, e.RequestInit.ID}] = &request{key: r.keyOf(e)}
	case e.ResponseInit != nil:
		if open := r.open[streamID{e.Proxy, e.ResponseInit.ID}]; open != nil {
			open.status = e.ResponseInit.HTTPStatus
			open.chosen(e, r.Options)
		}
	case e.ResponseEnd != nil:
		id := streamID{e.Proxy, e.ResponseEnd.ID}
		open := r.open[id]
		if open == nil {
			return
		}
		delete(r.open, id)
		open.chosen(e, r.Options)
		r.count(open, e.ResponseEnd)
	}
}

// keyOf returns what a request has in common with others. The query of a path does not tell requests apart.
func (r *Rows) keyOf(e *tap.Event) key {
	k := key{source: peer(e.Source), destination: peer(e.Destination)}
	if r.HideSources {
		k.source = ""
	}
	if r.Routes {
		k.route = cmp.Or(e.RouteMeta["route"], "[DEFAULT]")
		return k
	}
	k.method = e.RequestInit.Method
	k.path, _, _ = strings.Cut(e.RequestInit.Path, "?")
	return k
}

// chosen takes from a later event what the first did not know: a request that was sent again has another endpoint.
func (q *request) chosen(e *tap.Event, o Options) {
	if e.Destination.IP != "" {
		q.destination = peer(e.Destination)
	}
	if route := e.RouteMeta["route"]; o.Routes && route != "" {
		q.route = route
	}
}

// peer names one end: its pod, otherwise its address.
func peer(e tap.Endpoint) string { return cmp.Or(e.Metadata["pod"], e.IP, "-") }

func (r *Rows) count(q *request, end *tap.ResponseEnd) {
	r.ended++
	of := r.rows[q.key]
	if of == nil {
		if len(r.rows) >= maxRows {
			r.drop()
		}
		of = &row{key: q.key}
		r.rows[q.key] = of
	}
	took := time.Duration(end.SinceRequestInit.Seconds)*time.Second + time.Duration(end.SinceRequestInit.Nanos)
	of.count++
	of.seen, of.last, of.worst = r.ended, took, max(of.worst, took)
	if of.count == 1 || took < of.best {
		of.best = took
	}
	if succeeded(q.status, end) {
		of.succeeded++
	}
}

// drop removes the row with the fewest requests, and of those the one that was seen last the longest time ago.
func (r *Rows) drop() {
	var least *row
	for _, each := range r.rows {
		if least == nil || cmp.Or(cmp.Compare(each.count, least.count), cmp.Compare(each.seen, least.seen)) < 0 {
			least = each
		}
	}
	delete(r.rows, least.key)
	r.dropped++
}

// failures are the gRPC statuses that Linkerd counts as failures of the server.
var failures = []codes.Code{codes.Unknown, codes.DeadlineExceeded, codes.Internal, codes.Unavailable, codes.DataLoss}

// succeeded classifies as Linkerd's top does: a status of 500 and above failed, and a stream that was reset. A proxy's
// own answer, such as 403, has a reason too, and its status decides.
func succeeded(status int, end *tap.ResponseEnd) bool {
	switch {
	case status == 0 || status >= 500:
		return false
	case end.GRPC:
		return !slices.Contains(failures, codes.Code(end.GRPCStatusCode))
	}
	return end.Error == "" || status >= 400
}

// orders are how rows can be sorted; the first is the default. Equal rows are sorted by their names.
var orders = []struct {
	name    string
	compare func(a, b *row) int
}{
	{"count", func(a, b *row) int { return cmp.Compare(b.count, a.count) }},
	{"worst", func(a, b *row) int { return cmp.Compare(b.worst, a.worst) }},
	{"last", func(a, b *row) int { return cmp.Compare(b.last, a.last) }},
	{"success rate", func(a, b *row) int { return cmp.Compare(a.success(), b.success()) }},
}

// sorted returns the rows in one of the orders.
func (r *Rows) sorted(order int) []*row {
	rows := make([]*row, 0, len(r.rows))
	for _, each := range r.rows {
		rows = append(rows, each)
	}
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(orders[order].compare(a, b), cmp.Compare(a.source, b.source),
			cmp.Compare(a.destination, b.destination), cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method),
			cmp.Compare(a.route, b.route))
	})
	return rows
}

// column is one column of the table.
type column struct {
	heading string
	left    bool
	cell    func(*row) string
}

// columns returns those that the options show.
func (o Options) columns() []column {
	var out []column
	name := func(heading string, cell func(*row) string) { out = append(out, column{heading, true, cell}) }
	if !o.HideSources {
		name("Source", func(r *row) string { return r.source })
	}
	name("Destination", func(r *row) string { return r.destination })
	if o.Routes {
		name("Route", func(r *row) string { return r.route })
	} else {
		name("Method", func(r *row) string { return r.method })
		name("Path", func(r *row) string { return r.path })
	}
	return append(out,
		column{"Count", false, func(r *row) string { return fmt.Sprint(r.count) }},
		column{"Best", false, func(r *row) string { return duration(r.best) }},
		column{"Worst", false, func(r *row) string { return duration(r.worst) }},
		column{"Last", false, func(r *row) string { return duration(r.last) }},
		column{"Success Rate", false, func(r *row) string { return fmt.Sprintf("%.2f%%", 100*r.success()) }})
}

// duration writes a time in its largest unit of µs, ms and s, as Linkerd's top does.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
