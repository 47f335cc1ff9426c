package proxy

import (
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A request's deadline goes with it from hop to hop. Between proxies travels the time that is left, for clocks of nodes differ; in a pod,
// whose clock is one, the instant.
const (
	// remainingField holds the milliseconds that a meshed peer's proxy gives the request.
	remainingField = "tulle-remaining"
	// deadlineField holds the instant when the request is given up, in milliseconds since 1970. The inbound side tells the application,
	// which may send it along with the calls that it makes for the request; the outbound side takes it from there.
	deadlineField = "l5d-deadline"
	// grpcTimeoutField is gRPC's own. Source: gRPC over HTTP/2, "Timeout".
	grpcTimeoutField = "grpc-timeout"
)

// deadlineGrace is how much longer than told the inbound side waits for the application. The caller's proxy knows the rule that bounds the
// request, whether to try again and what to say: its own clock is to end the request, and calls it off here. This one is for a caller
// that is gone.
const deadlineGrace = 100 * time.Millisecond

// takeDeadline removes the deadline that the application sent along, and returns how much time it leaves; ok is false without one. What
// cannot be read is no deadline, and an application cannot speak for its proxy.
func takeDeadline(h *message.Head, grpc bool) (left time.Duration, ok bool) {
	if h.Has(remainingField) {
		h.Del(remainingField)
	}
	if v, has := h.Get(deadlineField); has {
		ms, err := strconv.ParseInt(string(v), 10, 64)
		if ok = err == nil && ms > 0; ok {
			left = time.Until(time.UnixMilli(ms))
		}
		h.Del(deadlineField)
	}
	if !grpc {
		return left, ok
	}
	if v, has := h.Get(grpcTimeoutField); has {
		if d, valid := parseGRPCTimeout(v); valid && (!ok || d < left) {
			left, ok = d, true
		}
	}
	return left, ok
}

// expired returns f, or a Timeout in its place if it is how a gRPC server ends a call whose deadline has passed: it resets the stream with
// CANCEL, perhaps before this proxy's own clock strikes. C-core and grpc-go tell callers DEADLINE_EXCEEDED then.
func expired(x *exchange.Exchange, f exchange.Fault, grpc bool) exchange.Fault {
	if !grpc || f.Kind != exchange.Reset || f.Reason != h2.Cancel.String() {
		return f
	}
	v, _ := x.Request.Get(grpcTimeoutField)
	if d, ok := parseGRPCTimeout(v); !ok || time.Since(x.Begun) < d {
		return f
	}
	x.Fault = exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: exchange.Deadline}
	return x.Fault
}

// parseGRPCTimeout reads at most eight digits and a unit.
func parseGRPCTimeout(v []byte) (d time.Duration, ok bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n, ok := message.ParseLength(v[:len(v)-1])
	if !ok {
		return 0, false
	}
	unit := time.Duration(0)
	switch v[len(v)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	const most = 1 << 62
	if n > int64(most/unit) {
		return most, true
	}
	return time.Duration(n) * unit, true
}

// tellRemaining writes how much time is left, for a peer's proxy alone.
func tellRemaining(h *message.Head, left time.Duration, meshed bool) {
	if !meshed {
		h.Del(remainingField) // of an attempt before
		return
	}
	h.Set(remainingField, strconv.FormatInt(max(left.Milliseconds(), 0), 10))
}

// takeRemaining removes what a client says of the time that is left, and of deadlines, and returns it if the client is a meshed peer.
func takeRemaining(h *message.Head, meshed bool) (left time.Duration, ok bool) {
	if h.Has(deadlineField) {
		h.Del(deadlineField)
	}
	v, has := h.Get(remainingField)
	if !has {
		return 0, false
	}
	ms, valid := message.ParseLength(v)
	h.Del(remainingField)
	const most = int64(1<<62) / int64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond, valid && meshed
}

// tellDeadline tells the application when the request is given up.
func tellDeadline(h *message.Head, left time.Duration) {
	h.Set(deadlineField, strconv.FormatInt(time.Now().Add(left).UnixMilli(), 10))
}
