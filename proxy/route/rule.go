package route

import (
	"cmp"
	"fmt"
	"math/bits"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
)

// Rule is the compiled form of a mesh.Rule, or of a route of a ServiceProfile. It is immutable.
type Rule struct {
	// ID is the rule's index in Table.Rules. RouteIndex is the index of its route in what was compiled, -1 for the default
	// rule (see IsDefault). RuleIndex is the rule's index in its route.
	ID, RouteIndex, RuleIndex int
	// Ref names the route.
	Ref  mesh.Ref
	Name string
	// GRPC says that the rule is a GRPCRoute's: what it refuses gets a gRPC status.
	GRPC   bool
	Policy mesh.RequestPolicy
	// Invalid is why the rule cannot be served, for people; "" when it can.
	Invalid string
	// OwnService says that requests go to the target's own Service: those of the default rule, and of a rule without
	// Backends that does not redirect. Otherwise they go to one of Backends, or nowhere if none has a weight.
	OwnService bool
	Backends   []Backend
	// Classes are those of a ServiceProfile's route.
	Classes []mesh.ResponseClass

	Filters
	matches []mesh.Match
	total   uint64 // of the weights
}

// Backend is the compiled form of a mesh.WeightedBackend.
type Backend struct {
	mesh.WeightedBackend
	// ID is the backend's index in Rule.Backends.
	ID int
	// Filters belong to this rule's use of the backend. They hide the ones that they were made from.
	Filters
}

// IsDefault reports whether r is the default rule. It takes the requests of a Service without routes, and those that
// match no route of a profile.
func (r *Rule) IsDefault() bool { return r.RouteIndex < 0 }

func newRule(r *mesh.Route, route, index int) *Rule {
	in := &r.Rules[index]
	out := &Rule{
		RouteIndex: route, RuleIndex: index, Ref: r.Ref, Name: in.Name, GRPC: r.GRPC, Policy: in.Policy, Invalid: in.Invalid,
		matches: in.Matches,
	}
	var err error
	if out.Filters, err = compileFilters(in.Filters, in.Matches); err != nil {
		out.Invalid = cmp.Or(out.Invalid, err.Error())
	}
	out.setBackends(in.Backends)
	out.OwnService = len(in.Backends) == 0 && out.Redirect == nil
	return out
}

func (r *Rule) setBackends(in []mesh.WeightedBackend) {
	r.Backends = make([]Backend, len(in))
	for i := range in {
		b := &r.Backends[i]
		b.WeightedBackend, b.ID = in[i], i
		var err error
		if b.Filters, err = compileFilters(in[i].Filters, r.matches); err == nil && r.Filters.rewrites() &&
			b.Filters.rewrites() {
			err = fmt.Errorf("the path is rewritten twice")
		}
		if err != nil {
			b.Invalid = cmp.Or(b.Invalid, err.Error())
		}
		r.total += uint64(b.Weight)
	}
}

// Pick returns the backend that a request with this draw goes to: draws that are spread evenly over all uint64 are
// shared by weight. It returns nil when no backend has a weight.
func (r *Rule) Pick(draw uint64) *Backend {
	at, _ := bits.Mul64(draw, r.total)
	for i := range r.Backends {
		w := uint64(r.Backends[i].Weight)
		if at < w {
			return &r.Backends[i]
		}
		at -= w
	}
	return nil
}

// Step is what to add to a draw to get the next. It spreads the draws evenly: the shares of any sequence of requests
// are exact to a few requests. With random draws they would be off by the square root of the number of requests.
// Source: the golden ratio of 2^64, Weyl's sequence.
const Step = 0x9E3779B97F4A7C15

// compileProfile makes the table of a ServiceProfile: the first route whose condition holds counts. A request that no
// route matches gets the default rule.
func compileProfile(o *mesh.Outbound) *Table {
	p := o.Profile
	var rules []*Rule
	for i := range p.Routes {
		in := &p.Routes[i]
		r := &Rule{
			RuleIndex: i, Ref: p.Ref, Name: in.Name, Classes: in.Classes,
			Policy:  mesh.RequestPolicy{Timeouts: mesh.Timeouts{Request: in.Timeout}, Retry: profileRetry(p, in)},
			matches: []mesh.Match{{Condition: &in.Condition}},
		}
		r.override(p)
		rules = append(rules, r)
	}
	fallback := defaultRule(o)
	if len(rules) > 0 {
		fallback.Ref, fallback.Policy = p.Ref, mesh.RequestPolicy{}
	}
	fallback.override(p)
	return compile(rules, fallback)
}

func (r *Rule) override(p *mesh.Profile) {
	if r.OwnService = len(p.Overrides) == 0; !r.OwnService {
		r.setBackends(p.Overrides)
	}
}

// profileRetries bounds the retries of a request: a ServiceProfile itself has only a budget.
const profileRetries = 10

// profileRetry returns the retries of a route: of its failures, if the profile says that it is retryable.
func profileRetry(p *mesh.Profile, in *mesh.ProfileRoute) *mesh.Retry {
	if !in.Retryable {
		return nil
	}
	out := &mesh.Retry{Limit: profileRetries, GRPC: mesh.GRPCFailures, Budget: cmp.Or(in.Budget, p.Budget)}
	for status := 100; status <= 599; status++ {
		if !Failure(in.Classes, status) {
			continue
		}
		if n := len(out.Statuses); n > 0 && int(out.Statuses[n-1].Last) == status-1 {
			out.Statuses[n-1].Last++
		} else {
			out.Statuses = append(out.Statuses, mesh.StatusRange{First: uint16(status), Last: uint16(status)})
		}
	}
	return out
}

// Failure reports whether a response with that HTTP status is a failure: by the first class that fits, otherwise if the
// status is 500 or above.
func Failure(classes []mesh.ResponseClass, status int) bool {
	for i := range classes {
		if fits(&classes[i].Condition, status) {
			return classes[i].Failure
		}
	}
	return status >= 500
}

func fits(c *mesh.ResponseCondition, status int) bool {
	if c.Status != (mesh.StatusRange{}) && (status < int(c.Status.First) || status > int(c.Status.Last)) {
		return false
	}
	for i := range c.All {
		if !fits(&c.All[i], status) {
			return false
		}
	}
	if c.Not != nil && fits(c.Not, status) {
		return false
	}
	for i := range c.Any {
		if fits(&c.Any[i], status) {
			return true
		}
	}
	return len(c.Any) == 0
}

// String names the rule for people: the object, and the rule's name or place.
func (r *Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s", r.Ref.Kind, r.Ref.Namespace, r.Ref.Name)
	switch {
	case r.IsDefault():
	case r.Name != "":
		fmt.Fprintf(&b, ", rule %q", r.Name)
	default:
		fmt.Fprintf(&b, ", rule %d", r.RuleIndex)
	}
	return b.String()
}

// CompileOpaque returns the compiled form of a rule for opaque connections, which has only backends.
func CompileOpaque(o *mesh.OpaqueRule) *Rule {
	r := &Rule{Ref: o.Ref}
	r.setBackends(o.Backends)
	return r
}
