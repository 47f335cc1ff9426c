package stats

// Direction is the side of the proxy that serves a connection. Its text is the value of the label "direction".
type Direction string

// The directions of connections.
const (
	Outbound Direction = "outbound" // from this pod's applications
	Inbound  Direction = "inbound"  // to this pod's applications
)

// Values of the label "error" for connections that both directions refuse.
const (
	ErrorLoop   = "loop"   // the destination is the proxy itself
	ErrorDetect = "detect" // the connection ended, or the detection timed out, before the protocol was clear
)

// ConnFailed counts a connection that failed in the proxy. reason is a constant word.
func (r *Registry) ConnFailed(d Direction, reason string) {
	family := OutboundTCPErrors
	if d == Inbound {
		family = InboundTCPErrors
	}
	r.Inc(family, Labels("").Add("direction", string(d), "error", reason))
}

// RequestFailed counts a request that failed in the proxy. Both words are constant; reason may be empty.
func (r *Registry) RequestFailed(d Direction, word, reason string) {
	family := OutboundHTTPErrors
	if d == Inbound {
		family = InboundHTTPErrors
	}
	r.Inc(family, Labels("").Add("direction", string(d), "error", word, "reason", reason))
}
