package response

import (
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// StatusOf returns how an exchange ended, for metrics.
func StatusOf(x *exchange.Exchange, grpc bool) stats.ResponseStatus {
	o := stats.ResponseStatus{Status: x.Response.Status, GRPC: stats.NotGRPC, Failure: x.Response.Status >= 500}
	if grpc {
		o.GRPC = CallStatus(x)
		o.Failure = o.Failure || mesh.IsGRPCFailure(o.GRPC)
	}
	if x.Fault.Is() {
		o.Failure, o.Error = true, x.Fault.Kind.String()
	}
	return o
}

// Duration returns how long an exchange took; 0 when its request never became complete.
func Duration(x *exchange.Exchange) time.Duration {
	if x.Begun.IsZero() || x.Ended.IsZero() {
		return 0
	}
	return x.Ended.Sub(x.Begun)
}

// Latency returns how long the client waited for the response: up to the first byte of its body, or up to its end if it
// had none. A server that sends a head and then waits is slow; a stream that lasts for hours is not. Source: Linkerd's
// response_latency_ms.
func Latency(x *exchange.Exchange) time.Duration {
	if x.FirstByte.IsZero() {
		return Duration(x)
	}
	return x.FirstByte.Sub(x.Begun)
}

// ServerTime returns how long the response took once the server had the request: from since, or from the last byte of
// the request's body if that was later.
func ServerTime(x *exchange.Exchange, since time.Time) time.Duration {
	if x.Uploaded.After(since) {
		since = x.Uploaded
	}
	return max(x.Ended.Sub(since), 0)
}
