package env

import (
	"cmp"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// Times are the bounds of a proxy's waiting. The proxy's configuration gives each a value.
type Times struct {
	// OutboundConnect and InboundConnect bound a connect, to an endpoint and to the application.
	OutboundConnect, InboundConnect time.Duration
	// OutboundDetect and InboundDetect bound the wait for the first bytes on any other port.
	OutboundDetect, InboundDetect time.Duration
	// Handshake bounds a TLS handshake on either side.
	Handshake time.Duration
	// DeclaredDetect bounds the wait for the first bytes on a port that declares HTTP.
	DeclaredDetect time.Duration
	// Discovery bounds the wait for the first value of a target.
	Discovery time.Duration
	// FailFast bounds how long a connection or a request waits for an endpoint.
	FailFast time.Duration
	// TargetIdle is how long a target is kept after its last use.
	TargetIdle time.Duration
	// WaitBeforeExit is the time between the signal to stop and the drain, Grace the bound of the drain.
	WaitBeforeExit, Grace time.Duration
	// ExpirySpread is the time within which the connections of peers under a dropped trust anchor are drained, each at
	// another moment, so that they are not all made again at once. ExpiryGrace is how long they may go on.
	ExpirySpread, ExpiryGrace time.Duration
}

// TimesOf fills in the defaults. They are those of Linkerd where those do not hurt: its detection waits 10 s, and its
// 100 ms to connect to the application fails requests whose SYN Linux drops and sends again after 1 s, because the
// accept queue is full.
func TimesOf(s *mesh.ProxyConfig) Times {
	d := func(v mesh.Duration, otherwise time.Duration) time.Duration {
		return cmp.Or(time.Duration(v), otherwise)
	}
	return Times{
		OutboundConnect: d(s.OutboundConnectTimeout, time.Second),
		InboundConnect:  d(s.InboundConnectTimeout, 4*time.Second),
		OutboundDetect:  d(s.OutboundDetectTimeout, time.Second),
		InboundDetect:   d(s.InboundDetectTimeout, time.Second),
		Handshake:       5 * time.Second,
		DeclaredDetect:  10 * time.Second,
		Discovery:       3 * time.Second,
		FailFast:        3 * time.Second,
		TargetIdle:      d(s.OutboundDiscoveryIdle, 10*time.Minute),
		Grace:           d(s.ShutdownGrace, 2*time.Minute),
		WaitBeforeExit:  time.Duration(s.WaitBeforeExit),
		ExpirySpread:    5 * time.Second,
		ExpiryGrace:     30 * time.Second,
	}
}
