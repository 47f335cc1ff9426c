package mesh

import (
	"reflect"
	"time"
)

// Ref names the object that something comes from, for metrics, answers and logs. Metrics show a piece of Tulle's own,
// such as the route that a Service without routes has, as Kind "default" with an empty Group. The zero Ref names
// nothing.
type Ref struct {
	Group, Kind, Namespace, Name string
}

// Route is what one HTTPRoute or GRPCRoute says about a Service port, or about a Server. Rules are in the order of the
// object.
type Route struct {
	Ref Ref
	// GRPC says that the route is a GRPCRoute: what it refuses is answered as a gRPC status.
	GRPC  bool
	Rules []Rule
}

// Rule is one rule of a route. It applies to requests that one of its Matches matches.
type Rule struct {
	// Name is rules[].name; "" without.
	Name string
	// Matches is never empty: a rule without matches has one that matches everything.
	Matches []Match
	// Filters are applied in this order.
	Filters []Filter
	// Backends share the requests by weight. If there are some, but none has a weight, the response is 500 unless a filter
	// redirects (Source: Gateway API HTTPRouteRule.backendRefs). If there are none, requests go to the Service and port
	// that they are for, as in Linkerd. Always empty on an inbound route, which serves the pod's own application.
	Backends []WeightedBackend
	Policy   RequestPolicy
	// Invalid says why the rule cannot be served, in words for a person; "" if it can. Requests that match an invalid rule
	// get 500.
	Invalid string
}

// RequestPolicy says how often and for how long a request is tried. The zero RequestPolicy has no bounds and no
// retries, beyond sending a request elsewhere that certainly was not processed.
type RequestPolicy struct {
	Timeouts Timeouts
	// Retry is nil where nothing is retried.
	Retry *Retry
	// FaultInjection is nil where nothing is injected.
	FaultInjection *FaultInjection
}

// PathKind is how a Match compares the path.
type PathKind uint8

// The kinds of path match. An HTTPRoute's Exact, PathPrefix and RegularExpression; the rest is for GRPCRoute's method
// match.
const (
	AnyPath   PathKind = iota
	ExactPath          // the whole path, without query
	// whole segments: /v2 matches /v2 and /v2/x, not /v2x; Value has no trailing slash, except "/" itself
	PrefixPath
	RegexPath // RE2, the whole path
	GRPCExact // /Service/Method; an empty part matches any
	GRPCRegex // the same with RE2 in the parts
)

// Match holds the conditions of one alternative of a rule: all must hold.
type Match struct {
	Path    PathKind
	Value   string // of ExactPath, PrefixPath and RegexPath
	Service string // of GRPCExact and GRPCRegex
	Call    string // the method's name, of GRPCExact and GRPCRegex
	// Method is the HTTP method; "" matches any.
	Method  string
	Headers []FieldMatch
	Query   []FieldMatch
	// Condition, when set, must hold too. Only ServiceProfiles use it.
	Condition *Condition
	// Widened says that parts of the match could not be read and are left out: it takes every request that it was meant
	// for, and maybe more, and comes before the matches that are whole, so that none of those requests falls under
	// another. Its rule is Invalid. Only inbound routes use it, which may guard what others leave open.
	Widened bool
}

// FieldMatch compares one header, by lower-case Name, or one query parameter, by exact Name.
type FieldMatch struct {
	Name  string
	Value string
	// Regex says that Value is RE2 and must match the whole value.
	Regex bool
}

// Condition is a ServiceProfile's request match: a tree. What is set must hold, all of it. Source: linkerd.io/v1alpha2
// ServiceProfile.
type Condition struct {
	Method    string // "" for any
	PathRegex string // RE2, the whole path; "" for any
	All, Any  []Condition
	Not       *Condition
}

// Filter changes, answers or copies a request. Exactly one field is set.
type Filter struct {
	RequestHeaders  *HeaderModifier
	ResponseHeaders *HeaderModifier
	Redirect        *Redirect
	Rewrite         *Rewrite
	Mirror          *Mirror
	CORS            *CORS
}

// HeaderModifier edits a head: Set, then Add, then Remove. Names are lower-case.
type HeaderModifier struct {
	Set, Add []Header
	Remove   []string
}

// Header is a name, lower-case, and its value.
type Header struct{ Name, Value string }

// Redirect answers with a Location. An empty field keeps what the request has. Source: Gateway API
// HTTPRequestRedirectFilter.
type Redirect struct {
	Scheme string
	Host   string
	// Port 0 means the well-known port of Scheme if that is set, otherwise the port of the request.
	Port uint16
	Path *PathModifier
	// Status is 301, 302, 303, 307 or 308.
	Status int
}

// Rewrite changes where a request goes. An empty field keeps what the request has.
type Rewrite struct {
	Host string
	Path *PathModifier
}

// PathModifier replaces the whole path, or the prefix that the rule's PrefixPath matched.
type PathModifier struct {
	Prefix bool
	Value  string
}

// Mirror sends a copy of the request to a backend and ignores its answer.
type Mirror struct {
	Backend WeightedBackend // its weight does not count
	// Numerator of Denominator requests are copied; Denominator is at least 1.
	Numerator, Denominator uint32
}

// CORS answers preflight requests and marks the others. Source: Gateway API HTTPCORSFilter, WHATWG Fetch 3.2.
type CORS struct {
	// AllowOrigins are origins, "*" for any; in an origin, a leading "*." label of the host matches any depth of names.
	AllowOrigins     []string
	AllowCredentials bool
	// AllowMethods and AllowHeaders may be "*".
	AllowMethods, AllowHeaders, ExposeHeaders []string
	MaxAge                                    time.Duration
}

// WeightedBackend is a backend as one rule sees it.
type WeightedBackend struct {
	Service ServiceRef
	// Ref names the object for metrics, also where it could not be resolved.
	Ref    Ref
	Weight uint32
	// Filters belong to this rule's use of the backend alone.
	Filters []Filter
	// Invalid says why the reference leads to no backend, in words for a person; "" if it does. Its share of requests gets
	// 500.
	Invalid string
}

// Backend is a Service that routes send to.
type Backend struct {
	Service   ServiceRef
	Authority string
	// Protocol that the port declares; Detect when nothing does.
	Protocol  Protocol
	Endpoints []Endpoint
	Accrual   *Accrual
}

// Timeouts bound a request. Zero means no bound.
type Timeouts struct {
	// Request bounds all of it, from the request's head to the end of the response, retries included.
	// Source: Gateway API timeouts.request, timeout.linkerd.io/request.
	Request time.Duration
	// Attempt bounds one attempt up to the response's head. Source: timeouts.backendRequest, retry.linkerd.io/timeout.
	Attempt time.Duration
	// Response bounds the time to the response's head, retries included. Source: timeout.linkerd.io/response.
	Response time.Duration
	// Idle bounds the time in which no body byte moves. Source: timeout.linkerd.io/idle.
	Idle time.Duration
}

// Retry says which responses make the proxy send a request again, and how often.
type Retry struct {
	// Statuses are ranges of HTTP statuses, inclusive.
	Statuses []StatusRange
	// GRPC has the bit 1<<code set for each gRPC status that is retried.
	GRPC uint32
	// Limit is how many retries a request may have; at least 1.
	Limit uint32
	// Backoff is the least time before a retry; 0 for none. It doubles with each further one.
	Backoff time.Duration
	// Budget bounds the retries of the rule beyond the Service's own; nil for the Service's.
	Budget *Budget
}

// StatusRange is an inclusive range of HTTP statuses.
type StatusRange struct{ First, Last uint16 }

// Budget bounds retries: Ratio of the requests of the last TTL, plus MinPerSecond. Source: ServiceProfile retryBudget.
type Budget struct {
	Ratio        float64
	MinPerSecond uint32
	TTL          time.Duration
}

// DefaultBudget is the Budget where none is configured. Source: Linkerd's default.
var DefaultBudget = Budget{Ratio: 0.2, MinPerSecond: 10, TTL: 10 * time.Second}

// FaultInjection makes a share of requests fail or wait, on purpose.
type FaultInjection struct {
	// AbortStatus or AbortGRPC answers AbortPercent of the requests; both 0 means no abort. AbortGRPC is a gRPC status.
	AbortStatus  uint16
	AbortGRPC    uint8
	AbortPercent float64
	// Delay holds DelayPercent of the requests back.
	Delay        time.Duration
	DelayPercent float64
	// Until is when the fault ends by itself, whatever the control plane does. It is UTC and never zero.
	Until time.Time
}

// Accrual ejects an endpoint that keeps failing, and admits it again after a probe.
// Source: balancer.linkerd.io/failure-accrual*.
type Accrual struct {
	// MaxFailures in a row eject an endpoint; 0 means that only the success rate does.
	MaxFailures uint32
	// SuccessRate below which an endpoint is ejected, over Window with at least MinRequests; 0 for none.
	SuccessRate float64
	Window      time.Duration
	MinRequests uint32
	// MinPenalty doubles with every ejection up to MaxPenalty; Jitter is the share of it that is added at random.
	MinPenalty, MaxPenalty time.Duration
	Jitter                 float64
}

// Profile is a ServiceProfile. Its Routes, if it has any, replace the Service's other routes. The first route whose
// condition holds applies; a request without one is forwarded without a route.
type Profile struct {
	Ref    Ref
	Routes []ProfileRoute
	// Budget bounds the retries of all routes together; nil for DefaultBudget.
	Budget *Budget
	// Overrides, when not empty, share the requests in the Service's place.
	Overrides []WeightedBackend
}

// ProfileRoute is one route of a ServiceProfile.
type ProfileRoute struct {
	Name      string
	Condition Condition
	Classes   []ResponseClass
	// Retryable means that failures are retried. Budget, if set, bounds the retries of this route alone.
	Retryable bool
	Budget    *Budget
	Timeout   time.Duration
}

// ResponseClass says whether responses of some statuses are failures; the first that fits counts.
type ResponseClass struct {
	Condition ResponseCondition
	Failure   bool
}

// ResponseCondition is a tree: what is set must hold, all of it.
type ResponseCondition struct {
	Status   StatusRange // zero for any
	All, Any []ResponseCondition
	Not      *ResponseCondition
}

// equal and equalParts compare the parts of values that have no cheaper comparison. Values that were made from the same
// snapshot share memory, so that nearly every comparison ends at once.
func equal[T any](a, b *T) bool { return a == b || a != nil && b != nil && reflect.DeepEqual(a, b) }

func equalParts[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || reflect.DeepEqual(a, b))
}

// MaxRegexBytes bounds the text of a regular expression. The controller refuses longer ones and the proxy does not
// compile them; so do the schemas of the mesh's kinds.
const MaxRegexBytes = 4 << 10
