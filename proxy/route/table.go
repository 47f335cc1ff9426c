// Package route decides which rule a request falls under, and makes of the request what the rule says.
//
// It owns the precedence of matches, the filters that edit heads or answer in an application's place, and the choice
// among weighted backends. It imports mesh and proxy/message only: it knows no connection, no metric and no clock, and
// where a backend's endpoints are is its caller's business. The one idea: everything is sorted once, when the control
// plane speaks, so that a request asks two maps and one short list, allocates nothing, and the first match it meets is
// the right one.
package route

import (
	"bytes"
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

	// Where matchers are looked for: by the whole path, by a part of it, or whatever it is.
	exact   map[string]*list
	prefix  map[string]*list
	lengths []int // of the keys of prefix, longest first
	others  *list // nil for none

	headers, query []string // names that matches ask for; see request

	// searched are the headers that regular expressions look into; searchesQuery says that some look into parameters.
	searched      []string
	searchesQuery bool
}

// Hit is a rule that a request matches, and how. The zero Hit is none.
type Hit struct {
	Rule *Rule
	// prefix is how many bytes of the canonical path the match's prefix takes; -1 when it matched without one.
	prefix int
	// Widened says that the match could not be read whole: the request may not be one that it was meant for.
	Widened bool
	// NamesMethod says that the match asks for the request's method.
	NamesMethod bool
}

// Rules returns the rules of the table, each at the index that is its ID.
func (t *Table) Rules() []*Rule { return t.rules }

// Routed reports whether requests can match different rules, or none.
func (t *Table) Routed() bool { return len(t.exact)+len(t.prefix) > 0 || t.others != nil }

// Compile returns the table of a value's routes or profile. Without either, every request matches one default rule
// with the value's Policy, a Ref of kind "default" and no backends: requests go to the target's own Service.
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

// defaultRule returns the rule for requests without a route. Source: the labels of Linkerd's default routes.
func defaultRule(o *mesh.Outbound) *Rule {
	return &Rule{RouteIndex: -1, Ref: mesh.Ref{Kind: "default", Name: "http"}, Policy: o.Policy, OwnService: true}
}

// CompileRoutes returns the table of routes, which must be ordered: the first wins a tie. Nothing is refused: a rule
// that cannot be served is Invalid and says why.
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
	t := &Table{rules: rules, fallback: fallback, exact: map[string]*list{}, prefix: map[string]*list{}}
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
	for _, l := range t.exact {
		l.index()
	}
	for key, l := range t.prefix {
		l.index()
		if n := len(key); !slices.Contains(t.lengths, n) {
			t.lengths = append(t.lengths, n)
		}
	}
	if t.others != nil {
		t.others.index()
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	return t
}

func (t *Table) place(m *matcher) {
	by := t.byPath(m)
	l := t.others
	if by != nil {
		l = by[m.path]
	}
	if l == nil {
		l = &list{}
	}
	l.rest = append(l.rest, m)
	if by != nil {
		by[m.path] = l
	} else {
		t.others = l
	}
}

// TooLong reports whether regular expressions would look into a header or a query of more than MaxPath bytes: see
// Ambiguous.
func (t *Table) TooLong(h *message.Head) bool {
	if t.searchesQuery {
		if _, query, _ := cut(h.Path(), '?'); len(query) > MaxPath {
			return true
		}
	}
	for _, searched := range t.searched {
		n := 0
		if searched == "host" || searched == ":authority" {
			n = len(h.Authority())
		}
		for name, value := range h.All() {
			if message.EqualFold(name, searched) {
				n += len(value) + 1
			}
		}
		if n > MaxPath {
			return true
		}
	}
	return false
}

// byPath returns the map by path that a matcher belongs to; nil if it belongs to others.
func (t *Table) byPath(m *matcher) map[string]*list {
	switch {
	case m.path == "":
		return nil
	case m.rank.kind == exactRank:
		return t.exact
	case m.rank.kind == prefixRank:
		return t.prefix
	default:
		return nil
	}
}

// Match returns the rule that the request matches. ok is false if there are rules and none of them matches.
// Source of the precedence: Gateway API, HTTPRouteRule.matches and GRPCRouteRule.matches; between an exact path and the
// prefixes, where that leaves the place of regular expressions open, they come as Linkerd has them.
func (t *Table) Match(h *message.Head) (hit Hit, ok bool) {
	if !t.Routed() {
		return Hit{Rule: t.fallback}, t.fallback != nil
	}
	path, query, _ := cut(h.Path(), '?')
	return t.match(h, canonical(path), query)
}

// Elsewhere reports whether a request that falls under hit falls under another route, or under none, for servers that
// read its path in another way: those that cut off the parameters of segments, for which /admin;x and /;x/admin are
// /admin (Jakarta Servlet 6.0 §3.5.2), and those that take //public/admin for /admin at the host public (RFC 3986 §4.2;
// new URL(req.url, base) of Node.js).
func (t *Table) Elsewhere(h *message.Head, hit Hit) bool {
	path, query, _ := cut(h.Path(), '?')
	other := func(path []byte) bool {
		o, ok := t.match(h, canonical(path), query)
		return !ok || o.Rule.RouteIndex != hit.Rule.RouteIndex || o.Widened != hit.Widened
	}
	if bytes.HasPrefix(path, []byte("//")) && other(withoutHost(path)) {
		return true
	}
	if bytes.IndexByte(path, ';') < 0 && bytes.IndexByte(path, '%') < 0 {
		return false
	}
	path = canonical(path)
	return bytes.IndexByte(path, ';') >= 0 && other(withoutParameters(path))
}

// match finds the rule for the canonical path.
func (t *Table) match(h *message.Head, path, query []byte) (hit Hit, ok bool) {
	r := request{table: t, head: h, path: path, query: query}
	best := &matcher{order: math.MaxInt}
	if len(t.exact) > 0 {
		best = t.exact[string(r.path)].first(&r, best)
	}
	for _, n := range t.lengths {
		if n < len(r.path) && r.path[n] == '/' || n == len(r.path) {
			best = t.prefix[string(r.path[:n])].first(&r, best)
		}
	}
	best = t.others.first(&r, best)
	if best.rule == nil {
		return Hit{Rule: t.fallback}, t.fallback != nil
	}
	return Hit{Rule: best.rule, prefix: best.prefix, Widened: best.rank.widened, NamesMethod: best.rank.method}, true
}
