package tap

// The API's group and version are Linkerd's, so that its roles mean the same.
const (
	Group   = "tap.linkerd.io"
	Version = "v1alpha1"
)

// ContentType is that of a stream: one JSON value a line, a Message.
const ContentType = "application/x-ndjson"

// Request is the body of a request to watch; an empty body watches everything. What is watched is in the path alone.
type Request struct {
	LabelSelector string `json:"labelSelector,omitempty"`
	// MaxRPS bounds the new requests and connections a second of all proxies; 0 means 100.
	MaxRPS     int         `json:"maxRps,omitempty"`
	Direction  string      `json:"direction,omitempty"` // "inbound", "outbound" or "" for both
	Method     string      `json:"method,omitempty"`
	Scheme     string      `json:"scheme,omitempty"`
	Authority  string      `json:"authority,omitempty"`
	PathPrefix string      `json:"pathPrefix,omitempty"`
	To         Destination `json:"to,omitzero"`
	Headers    bool        `json:"headers,omitempty"`
}

// Destination is what outbound traffic goes to; see mesh.TapDestination.
type Destination struct {
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
}
