package response

import (
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A request's deadline goes with it from hop to hop. Between proxies travels the time that is left, for clocks of nodes
// differ; in a pod, whose clock is one, the instant.
const (
	// RemainingField holds the milliseconds that a meshed peer's proxy gives the request.
	RemainingField = "tulle-remaining"
	// DeadlineField holds the instant when the request is given up, in milliseconds since 1970. The inbound side tells the
	// application, which may send it along with the calls that it makes for the request; the outbound side takes it from
	// there.
	DeadlineField = "l5d-deadline"
	// grpcTimeoutField is gRPC's own. Source: gRPC over HTTP/2, "Timeout".
	grpcTimeoutField = "grpc-timeout"
)

// DeadlineGrace is how much longer than told the inbound side waits for the application. The caller's proxy knows the
// rule that bounds the request, whether to try again and what to say: its own clock is to end the request, and calls it
// off here. This one is for a caller that is gone.
const DeadlineGrace = 100 * time.Millisecond

// TakeDeadline removes the deadline that the application sent along, and returns how much time it leaves; ok is false
// without one. What cannot be read is no deadline, and an application cannot speak for its proxy.
func TakeDeadline(h *message.Head, grpc bool) (left time.Duration, ok bool) {
	if h.Has(RemainingField) {
		h.Del(RemainingField)
	}
	if v, has := h.Get(DeadlineField); has {
		ms, err := strconv.ParseInt(string(v), 10, 64)
		if ok = err == nil && ms > 0; ok {
			left = time.Until(time.UnixMilli(ms))
		}
		h.Del(DeadlineField)
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

// Expired returns f, or a Timeout in its place if it is how a gRPC server ends a call whose deadline has passed: it
// resets the stream with CANCEL, perhaps before this proxy's own clock strikes. C-core and grpc-go tell callers
// DEADLINE_EXCEEDED then.
func Expired(x *exchange.Exchange, f exchange.Fault, grpc bool) exchange.Fault {
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

// SetRemaining writes how much time is left, for a peer's proxy alone.
func SetRemaining(h *message.Head, left time.Duration, meshed bool) {
	if !meshed {
		h.Del(RemainingField) // of an attempt before
		return
	}
	h.Set(RemainingField, strconv.FormatInt(max(left.Milliseconds(), 0), 10))
}

// TakeRemaining removes what a client says of the time that is left, and of deadlines, and returns it if the client is
// a meshed peer.
func TakeRemaining(h *message.Head, meshed bool) (left time.Duration, ok bool) {
	if h.Has(DeadlineField) {
		h.Del(DeadlineField)
	}
	v, has := h.Get(RemainingField)
	if !has {
		return 0, false
	}
	ms, valid := message.ParseLength(v)
	h.Del(RemainingField)
	const most = int64(1<<62) / int64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond, valid && meshed
}

// SetDeadline tells the application when the request is given up.
func SetDeadline(h *message.Head, left time.Duration) {
	h.Set(DeadlineField, strconv.FormatInt(time.Now().Add(left).UnixMilli(), 10))
}
