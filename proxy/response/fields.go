package response

// Fields that proxies of the mesh send each other in responses. deadline.go has those of requests.
const (
	// RetriedField tells a meshed peer that a failed response passes on a failure which was retried further along already:
	// another retry would multiply those.
	RetriedField = "tulle-retried"
	// UnprocessedField tells a meshed peer that the response is the proxy's own and that the application has not seen the
	// request, so that the peer may send it elsewhere. An application that stops refuses connections before all peers know
	// that it is gone.
	UnprocessedField = "tulle-unprocessed"
)
