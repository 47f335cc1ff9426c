package response

import (
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A request's deadline goes with it from hop to hop. Proxies send each other the time that is left, because clocks of
// nodes differ. Within a pod, which has one clock, the instant is sent.
const (
	// RemainingField holds how many milliseconds a meshed peer's proxy gives the request.
	RemainingField = "tulle-remaining"
	// DeadlineField holds the instant when the request times out, in milliseconds since 1970. The inbound side adds it to
	// the request. The application may send it along with the calls that it makes for the request, and the outbound side
	// applies it to them.
	DeadlineField = "l5d-deadline"
	// grpcTimeoutField is gRPC's own. Source: gRPC over HTTP/2, "Timeout".
	grpcTimeoutField = "grpc-timeout"
)

// DeadlineGrace is how long after the deadline the inbound side still waits for the application. The caller's proxy
// knows the rule that bounds the request, and whether to retry: its clock ends the request, and it then cancels it
// here. This bound is for a caller that is gone.
const DeadlineGrace = 100 * time.Millisecond

// TakeDeadline removes the deadline that the application sent along, and returns how much time it leaves. ok is false
// without a deadline that can be parsed. It also removes RemainingField, which only proxies may send.
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

// TimeoutIfExpired returns a Timeout, and makes it x.Fault, if f is how a gRPC server ended a call whose deadline has
// passed. Otherwise it returns f. Such a server resets the stream with CANCEL, perhaps before this proxy's own timer
// fires. C-core and grpc-go report DEADLINE_EXCEEDED then.
func TimeoutIfExpired(x *exchange.Exchange, f exchange.Fault, grpc bool) exchange.Fault {
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

// SetRemaining writes how much time is left, if the next hop is a peer's proxy.
func SetRemaining(h *message.Head, left time.Duration, meshed bool) {
	if !meshed {
		h.Del(RemainingField) // of an earlier attempt
		return
	}
	h.Set(RemainingField, strconv.FormatInt(max(left.Milliseconds(), 0), 10))
}

// TakeRemaining removes the fields with the time that is left and with deadlines. It returns the time if the client is
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

// SetDeadline writes when the request times out, for the application.
func SetDeadline(h *message.Head, left time.Duration) {
	h.Set(DeadlineField, strconv.FormatInt(time.Now().Add(left).UnixMilli(), 10))
}
