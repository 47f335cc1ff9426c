package stats

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// group is a set of series with common labels that are made and dropped together.
type group interface {
	// collect writes the group's series of one family.
	collect(f id, w *writer)
	// activity returns a number that changes whenever one of the group's series changes.
	activity() uint64
	// series returns how many series the group has at the beginning. It takes further ones from its room.
	series() int
}

// HTTP counts the requests of one peer, endpoint or port. Its methods may be called by several goroutines and allocate
// nothing once a status has been counted.
type HTTP struct {
	labels   Labels
	families [3]id // requests, responses, latency
	room     room
	requests atomic.Uint64

	mu        sync.Mutex                  // serialises additions to responses
	responses atomic.Pointer[[]*response] // replaced as a whole
}

// ResponseStatus is how a request ended, as the metrics of responses have it. It is comparable.
type ResponseStatus struct {
	Status int // 0: the client disconnected before there was one
	// GRPC is the gRPC status, or NotGRPC.
	GRPC    int16
	Failure bool
	// Error is the constant word of the proxy's own fault; "" if the response came from the application.
	Error string

	// class means that Status is only a status's first digit.
	class bool
}

// fold returns the status that counts for s when a group has too many.
func (s ResponseStatus) fold() ResponseStatus {
	return ResponseStatus{Status: s.Status / 100, GRPC: NotGRPC, Failure: s.Failure, class: true}
}

// NotGRPC in a ResponseStatus means that the request was not a gRPC call.
const NotGRPC int16 = -1

const (
	// maxStatuses bounds the distinct ones of a group: a peer may invent them.
	maxStatuses = 64
	// maxClasses is the largest number of further statuses after folding: those without a status, and those from 1xx to
	// 9xx.
	maxClasses = 10
)

type response struct {
	status ResponseStatus
	labels Labels // of the status alone, without the label "error"
	total  atomic.Uint64
	// latency is shared by statuses that differ only in their error; first is set in one of them. latency is nil if
	// there was no room.
	latency *histogram
	first   bool
}

// Request counts a request that arrived.
func (h *HTTP) Request() { h.requests.Add(1) }

// Response counts a response that ended.
func (h *HTTP) Response(s ResponseStatus, latency time.Duration) {
	r := h.find(s)
	if r == nil {
		r = h.add(s)
	}
	r.total.Add(1)
	if r.latency != nil {
		r.latency.observe(latency)
	}
}

func (h *HTTP) find(s ResponseStatus) *response {
	list := h.responses.Load()
	if list == nil {
		return nil
	}
	for _, r := range *list {
		if r.status == s {
			return r
		}
	}
	return nil
}

func (h *HTTP) add(s ResponseStatus) *response {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*response
	if p := h.responses.Load(); p != nil {
		list = *p
	}
	if len(list) >= maxStatuses {
		s = s.fold()
	}
	if r := h.find(s); r != nil {
		return r
	}
	r := h.newResponse(s, list)
	if r == nil {
		if r = h.find(noRoom(s)); r != nil {
			return r
		}
		r = &response{status: noRoom(s), labels: noRoom(s).labels().With("overflow", "true")}
	}
	list = append(list[:len(list):len(list)], r)
	h.responses.Store(&list)
	return r
}

// newResponse returns the counter of a status that list lacks, or nil if there is no room.
func (h *HTTP) newResponse(s ResponseStatus, list []*response) *response {
	r := &response{status: s, labels: s.labels()}
	for _, other := range list {
		if other.labels == r.labels && other.latency != nil {
			r.latency = other.latency
		}
	}
	series := 1
	if r.latency == nil {
		r.latency, r.first = &histogram{}, true
		series += histogramSeries
	}
	if !h.room.take(series) {
		return nil
	}
	return r
}

// noRoom returns the status that counts for s if there is no room. It has one series, which every group pays for at
// the beginning.
func noRoom(s ResponseStatus) ResponseStatus {
	return ResponseStatus{Status: -1, GRPC: NotGRPC, Failure: s.Failure}
}

func (s ResponseStatus) labels() Labels {
	classification := "success"
	if s.Failure {
		classification = "failure"
	}
	var l Labels
	switch {
	case s.Status <= 0:
	case s.class:
		l = l.With("status_code", classOf(s.Status))
	default:
		l = l.With("status_code", strconv.Itoa(s.Status))
	}
	l = l.With("classification", classification)
	if s.GRPC != NotGRPC {
		l = l.With("grpc_status", strconv.Itoa(int(s.GRPC)))
	}
	return l
}

// classOf returns the name of the statuses with this first digit. PromQL's usual status_code=~"5.." matches it.
func classOf(digit int) string { return strconv.Itoa(digit) + "xx" }

func newHTTP(requests, responses, latency id) func(Labels, room) *HTTP {
	return func(l Labels, m room) *HTTP {
		return &HTTP{labels: l, room: m, families: [3]id{requests, responses, latency}}
	}
}

// series returns one series for requests, and two for the responses without room: successes and failures.
func (h *HTTP) series() int { return 1 + 2 }

func (h *HTTP) collect(f id, w *writer) {
	requests, responses, latency := h.families[0], h.families[1], h.families[2]
	if f == requests {
		w.value(f, h.labels, h.requests.Load())
		return
	}
	list := h.responses.Load()
	if list == nil || f != responses && f != latency {
		return
	}
	for _, r := range *list {
		if f == responses {
			w.value(f, h.labels.Join(r.labels.With("error", r.status.Error)), r.total.Load())
			continue
		}
		if r.first {
			w.histogram(f, h.labels.Join(r.labels), r.latency)
		}
	}
}

func (h *HTTP) activity() uint64 {
	n := h.requests.Load()
	if list := h.responses.Load(); list != nil {
		for _, r := range *list {
			n += r.total.Load()
		}
	}
	return n
}

// TCP counts the connections of one peer. The engine and the relay write the byte and connection counters of the
// embedded Traffic directly.
type TCP struct {
	exchange.Traffic
	labels   Labels
	duration histogram
	closes   [len(errnos) + 1]atomic.Uint64
}

// errnos are the errors of a connection that metrics distinguish; the last slot of TCP.closes counts all others.
var errnos = [...]struct {
	err  error
	name string
}{
	{nil, ""},
	{syscall.ECONNRESET, "ECONNRESET"},
	{syscall.EPIPE, "EPIPE"},
	{syscall.ETIMEDOUT, "ETIMEDOUT"},
	{syscall.ECONNREFUSED, "ECONNREFUSED"},
	{syscall.ECONNABORTED, "ECONNABORTED"},
	{syscall.EHOSTUNREACH, "EHOSTUNREACH"},
	{syscall.ENETUNREACH, "ENETUNREACH"},
}

// Close counts a connection that ended after age. err is nil for an orderly end. Close does not change Traffic's own
// counts.
func (t *TCP) Close(age time.Duration, err error) {
	t.duration.observe(age)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = syscall.ETIMEDOUT
	}
	for i, e := range errnos {
		if err == e.err || e.err != nil && errors.Is(err, e.err) {
			t.closes[i].Add(1)
			return
		}
	}
	t.closes[len(errnos)].Add(1)
}

func (t *TCP) collect(f id, w *writer) {
	switch f {
	case tcpOpenTotal:
		w.value(f, t.labels, t.Opened.Load())
	case tcpOpenConnections:
		w.value(f, t.labels, uint64(max(t.Open.Load(), 0)))
	case tcpReadBytes:
		w.value(f, t.labels, t.ReadBytes.Load())
	case tcpWriteBytes:
		w.value(f, t.labels, t.WrittenBytes.Load())
	case tcpDuration:
		if t.duration.count() > 0 {
			w.histogram(f, t.labels, &t.duration)
		}
	case tcpCloseTotal:
		t.collectCloses(f, w)
	}
}

func (t *TCP) collectCloses(f id, w *writer) {
	for i := range t.closes {
		n := t.closes[i].Load()
		if n == 0 {
			continue
		}
		name := "other"
		if i < len(errnos) {
			name = errnos[i].name
		}
		w.value(f, t.labels.With("errno", name), n)
	}
}

func (t *TCP) series() int { return 5 + len(t.closes) + histogramSeries }

// open reports whether connections are open.
func (t *TCP) open() bool { return t.Open.Load() > 0 }

func (t *TCP) activity() uint64 {
	return t.Opened.Load() + uint64(t.Open.Load()) + t.ReadBytes.Load() + t.WrittenBytes.Load() + t.duration.count()
}
