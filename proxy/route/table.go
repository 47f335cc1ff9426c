// Package route decides which rule a request falls under, and makes of the request what the rule says.
//
// It owns the precedence of matches, the filters that edit heads or answer in an application's place, and the choice among weighted
// backends. It imports mesh and proxy/message only: it knows no connection, no metric and no clock, and where a backend's endpoints are
// is its caller's business. The one idea: everything is sorted once, when the control plane speaks, so that a request asks two maps and
// one short list, allocates nothing, and the first match it meets is the right one.
package route

import (
	"cmp"
	"math"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Table is the compiled form of routes. It is immutable and may be used by several goroutines.
type Table struct {
	rules    []*Rule
	fallback *Rule // of what no rule matches; nil: it is answered with 404

	// What is compared with the path is found in one of three places; each list is in order of precedence.
	exact   map[string][]*matcher
	prefix  map[string][]*matcher
	lengths []int // of the keys of prefix, longest first
	others  []*matcher

	headers, query []string // names that matches ask for; see request
}

// Hit is a rule that a request falls under. The zero Hit is none.
type Hit struct {
	Rule *Rule
	// prefix is how many bytes of the canonical path the match's prefix takes; -1 when it matched without one.
	prefix int
}

// Rules returns the rules of the table, each at the index that is its ID.
func (t *Table) Rules() []*Rule { return t.rules }

// Routed reports whether requests can fall under different rules, or under none.
func (t *Table) Routed() bool { return len(t.exact)+len(t.prefix)+len(t.others) > 0 }

// Compile returns the table of a value's routes or profile. Without either, every request falls under one rule that holds the value's
// Policy, whose Ref is of kind "default" and which has no backends: requests go to the Service itself.
func Compile(o *mesh.Outbound) *Table {
	switch {
	case o.Profile != nil:
		return compileProfile(o)
	case len(o.Routes) > 0:
		return CompileRoutes(o.Routes)
	default:
		return compile(nil, defaultRule(o))
	}
}

// defaultRule is what requests fall under that no route is there for. Source: the labels of Linkerd's default routes.
func defaultRule(o *mesh.Outbound) *Rule {
	return &Rule{Route: -1, Ref: mesh.Ref{Kind: "default", Name: "http"}, Policy: o.Policy, Itself: true}
}

// CompileRoutes returns the table of routes, of which those that win a tie come first. Nothing is refused: a rule that cannot be served
// is Invalid and says why.
func CompileRoutes(routes []mesh.Route) *Table {
	var rules []*Rule
	for i := range routes {
		r := &routes[i]
		for j := range r.Rules {
			rules = append(rules, newRule(r, i, j))
		}
	}
	return compile(rules, nil)
}

func compile(rules []*Rule, fallback *Rule) *Table {
	t := &Table{rules: rules, fallback: fallback, exact: map[string][]*matcher{}, prefix: map[string][]*matcher{}}
	if fallback != nil {
		t.rules = append(slices.Clip(rules), fallback)
	}
	var all []*matcher
	for id, r := range t.rules {
		r.ID = id
		for i := range r.matches {
			m, err := t.newMatcher(r, &r.matches[i])
			if err != nil && r.Invalid == "" {
				r.Invalid = err.Error()
			}
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, compare)
	for i, m := range all {
		m.order = i
		t.place(m)
	}
	for key := range t.prefix {
		if n := len(key); !slices.Contains(t.lengths, n) {
			t.lengths = append(t.lengths, n)
		}
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	return t
}

func (t *Table) place(m *matcher) {
	switch {
	case m.rank.kind == exactRank && m.path != "":
		t.exact[m.path] = append(t.exact[m.path], m)
	case m.rank.kind == prefixRank && m.path != "":
		t.prefix[m.path] = append(t.prefix[m.path], m)
	default:
		t.others = append(t.others, m)
	}
}

// Match returns the rule that the request falls under. ok is false when there are rules and none of them matches. Source of the
// precedence: Gateway API, HTTPRouteRule.matches and GRPCRouteRule.matches; between an exact path and the prefixes, where that leaves the
// place of regular expressions open, they come as Linkerd has them.
func (t *Table) Match(h *message.Head) (hit Hit, ok bool) {
	if !t.Routed() {
		return Hit{Rule: t.fallback}, t.fallback != nil
	}
	r := request{table: t, head: h}
	r.path, r.query, _ = cut(h.Path(), '?')
	r.path = canonical(r.path)
	best := &matcher{order: math.MaxInt}
	if len(t.exact) > 0 {
		best = r.first(t.exact[string(r.path)], best)
	}
	for _, n := range t.lengths {
		if n < len(r.path) && r.path[n] == '/' || n == len(r.path) {
			best = r.first(t.prefix[string(r.path[:n])], best)
		}
	}
	best = r.first(t.others, best)
	if best.rule == nil {
		return Hit{Rule: t.fallback}, t.fallback != nil
	}
	return Hit{Rule: best.rule, prefix: best.prefix}, true
}

// first returns the first of the list that holds and comes before best, or best.
func (r *request) first(list []*matcher, best *matcher) *matcher {
	for _, m := range list {
		if m.order > best.order {
			return best
		}
		if m.holds(r) {
			return m
		}
	}
	return best
}
