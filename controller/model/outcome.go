package model

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// Outcome is what became of one object. Package status makes the conditions of its status from it, on goroutines of its
// own: nobody changes an Outcome that Outcomes has returned.
type Outcome struct {
	Object ObjectRef
	// Generation of the object that the outcome is about.
	Generation int64
	// Gone says that the object was deleted: there is nothing to write any more.
	Gone bool
	// Parents are of a route: one for each parentRef that this control plane handles, in the order of the object. A
	// route with none of them gets no status, and one that was written earlier is removed.
	Parents []ParentOutcome
	// Result is of a kind without parents; nil for a route.
	Result *Result
}

// ParentOutcome is what became of a route at one of its parents.
type ParentOutcome struct {
	// Ref is the parentRef as the object spells it.
	Ref gatewayv1.ParentReference
	Result
}

// Result is what became of an object, or of a route at one parent.
type Result struct {
	// Findings decide: with an Invalid one the object is not accepted, with an Unresolved one a reference leads
	// nowhere, and Ignored ones have no effect.
	Findings compile.Findings
	// Effect says what applies while the object is not accepted, and Note adds something about an object that is.
	Effect, Note string
	// HasReferences says that the object may refer to others, so that its status says whether these were found.
	HasReferences bool
}

func (r *Result) reject(reason, format string, args ...any) {
	r.Findings = append(r.Findings, compile.Finding{Message: fmt.Sprintf(format, args...), Severity: compile.Invalid,
		Reason: reason})
}

func (r *Result) ignore(reason, path, message string) {
	r.Findings = append(r.Findings, compile.Finding{Path: path, Message: message, Severity: compile.Ignored,
		Reason: reason})
}

// Reasons that the Gateway API has no name for. Those of routes and of rate limits are Linkerd's.
const (
	ReasonNoTarget               = "NoMatchingTarget"
	ReasonLimitExists            = "RateLimitReasonAlreadyExists"
	ReasonConflicted             = "Conflicted"
	ReasonRouteConflicted        = "RouteReasonConflicted"
	ReasonAuthenticationNotFound = "AuthenticationNotFound"
	reasonNoParent               = string(gatewayv1.RouteReasonNoMatchingParent)
	reasonUnsupported            = compile.ReasonUnsupportedValue
)

// objectKey names an object that has a status.
type objectKey struct {
	group, kind string
	types.NamespacedName
}

// outcomes notes which outcomes may differ from the last ones, so that Outcomes costs what has changed.
type outcomes struct{ stale map[objectKey]struct{} }

func (o *outcomes) touch(k objectKey) {
	if o.stale == nil {
		o.stale = map[objectKey]struct{}{}
	}
	o.stale[k] = struct{}{}
}

// Outcomes returns the outcomes that may have changed since the last call, sorted by object. Its cost is theirs.
func (s *Store) Outcomes() []Outcome {
	s.recountExcess()
	out := make([]Outcome, 0, len(s.outcomes.stale))
	b := newOutcomeBuilder(s)
	for k := range s.outcomes.stale {
		out = append(out, b.outcome(k))
	}
	clear(s.outcomes.stale)
	slices.SortFunc(out, func(a, b Outcome) int {
		x, y := a.Object, b.Object
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Namespace, y.Namespace),
			cmp.Compare(x.Name, y.Name))
	})
	return out
}

// outcomeBuilder derives outcomes. It remembers which routes are active where, which is the same for every route of a
// parent.
type outcomeBuilder struct {
	store  *Store
	active map[scope][]*route
}

// scope is a port of a Service and a namespace of clients.
type scope struct {
	service   types.NamespacedName
	port      uint16
	namespace string
}

func newOutcomeBuilder(s *Store) *outcomeBuilder {
	return &outcomeBuilder{store: s, active: map[scope][]*route{}}
}

// outcome derives the outcome of the object named k.
func (b *outcomeBuilder) outcome(k objectKey) Outcome {
	if out, ok := b.store.accessOutcome(k); ok {
		return out
	}
	if r := b.store.routes[k]; r != nil {
		return b.route(r)
	}
	if p := b.store.profiles[k.NamespacedName]; p != nil && k == p.objectKey {
		return b.profile(p)
	}
	return Outcome{Object: ObjectRef{Group: k.group, Kind: k.kind, Namespace: k.Namespace, Name: k.Name}, Gone: true}
}
