package route

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
)

// matcher is one alternative of a rule.
type matcher struct {
	rule   *Rule
	rank   rank
	order  int // among all matchers of the table: the smallest that holds wins
	prefix int // see Hit

	path      string // canonical; the key of the table's maps, "" where others are asked one by one
	pattern   *pattern
	service   *part // of gRPC; nil for any
	call      *part
	method    string
	headers   []fieldTest
	query     []fieldTest
	condition *condition
}

// rank orders matchers by what the specification calls more specific. Rules and routes break ties by their order.
type rank struct {
	widened bool
	kind    int // of path match, the less the better
	length  int // of the prefix, the more the better; of gRPC, see grpcLength
	method  bool
	headers int
	query   int
}

const (
	exactRank = iota
	regexRank
	prefixRank
)

func compare(a, b *matcher) int {
	return cmp.Or(
		-compareBool(a.rank.widened, b.rank.widened),
		cmp.Compare(a.rank.kind, b.rank.kind),
		cmp.Compare(b.rank.length, a.rank.length),
		-compareBool(a.rank.method, b.rank.method),
		cmp.Compare(b.rank.headers, a.rank.headers),
		cmp.Compare(b.rank.query, a.rank.query),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// newMatcher compiles a match. With an error it returns a matcher for at least every request that the match was meant
// for: its rule is invalid, and those requests must not match another rule.
func (t *Table) newMatcher(r *Rule, m *mesh.Match) (*matcher, error) {
	out := &matcher{rule: r, method: m.Method, prefix: -1}
	out.rank.widened, out.rank.method = m.Widened, m.Method != ""
	err := out.compilePath(m)
	var errs [3]error
	out.headers, errs[0] = compileFields(m.Headers, &t.headers, strings.ToLower)
	out.query, errs[1] = compileFields(m.Query, &t.query, func(s string) string { return s })
	out.rank.headers, out.rank.query = len(out.headers), len(out.query)
	for i := range out.headers {
		if f := &out.headers[i]; f.pattern != nil && !slices.Contains(t.searched, f.name) {
			t.searched = append(t.searched, f.name)
		}
	}
	t.searchesQuery = t.searchesQuery || slices.ContainsFunc(out.query, func(f fieldTest) bool { return f.pattern != nil })
	if m.Condition != nil {
		out.condition, errs[2] = compileCondition(m.Condition)
	}
	for _, e := range errs {
		err = cmp.Or(err, e)
	}
	return out, err
}

func (m *matcher) compilePath(in *mesh.Match) (err error) {
	switch in.Path {
	case mesh.ExactPath:
		m.rank.kind, m.path = exactRank, string(canonical([]byte(in.Value)))
	case mesh.RegexPath:
		m.rank.kind = regexRank
		m.pattern, err = compilePattern(in.Value)
	case mesh.GRPCExact, mesh.GRPCRegex:
		err = m.compileCall(in)
	case mesh.AnyPath:
		m.rank.kind, m.rank.length, m.prefix = prefixRank, 1, 0 // the default of the specification: prefix "/"
	case mesh.PrefixPath:
		path := string(canonical([]byte(in.Value)))
		m.rank.kind, m.rank.length = prefixRank, len(path)
		m.path = strings.TrimRight(path, "/")
		m.prefix = len(m.path)
	default:
		m.rank.kind = prefixRank
		err = fmt.Errorf("unknown kind %d of path match", in.Path)
	}
	return err
}

// compileCall ranks by service before call, and by what is exact before what is not. Of the matches that hold for a
// request, all that name the service name the same characters, so that counting them, as the specification has it,
// orders nothing further.
func (m *matcher) compileCall(in *mesh.Match) (err error) {
	m.rank.kind = prefixRank
	regex := in.Path == mesh.GRPCRegex
	var errService, errCall error
	m.service, errService = newPart(in.Service, regex)
	m.call, errCall = newPart(in.Call, regex)
	m.rank.length = 4*m.service.weight() + m.call.weight()
	if m.service.weight() == 2 && m.call.weight() == 2 {
		m.rank.kind, m.path = exactRank, "/"+in.Service+"/"+in.Call
	}
	return cmp.Or(errService, errCall)
}

func (m *matcher) holds(r *request) bool {
	if m.method != "" && m.method != string(r.head.Method()) {
		return false
	}
	if m.pattern != nil && !m.pattern.matches(r.path) {
		return false
	}
	if (m.service != nil || m.call != nil) && !m.calls(r.path) {
		return false
	}
	for i := range m.headers {
		if v, ok := r.header(&m.headers[i]); !ok || !m.headers[i].holds(v) {
			return false
		}
	}
	for i := range m.query {
		if v, ok := r.parameter(&m.query[i]); !ok || !m.query[i].holds(v) {
			return false
		}
	}
	return m.condition == nil || m.condition.holds(r)
}

// calls compares the parts of /service/call.
func (m *matcher) calls(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	service, call, ok := cut(path[1:], '/')
	return ok && bytes.IndexByte(call, '/') < 0 && m.service.holds(service) && m.call.holds(call)
}

// part matches the service or the call of a gRPC request. A nil part matches anything.
type part struct {
	text    string
	pattern *pattern
}

func newPart(s string, regex bool) (*part, error) {
	if s == "" {
		return nil, nil
	}
	if !regex {
		return &part{text: s}, nil
	}
	p, err := compilePattern(s)
	return &part{text: s, pattern: p}, err
}

func (p *part) weight() int {
	switch {
	case p == nil:
		return 0
	case p.pattern != nil:
		return 1
	default:
		return 2
	}
}

func (p *part) holds(b []byte) bool {
	switch {
	case p == nil:
		return true
	case p.pattern != nil:
		return p.pattern.matches(b)
	default:
		return string(b) == p.text
	}
}

// pattern is a regular expression that must match the whole text. The zero pattern matches anything.
type pattern struct {
	literal []byte // its literal prefix, which is cheap to compare first
	re      *regexp.Regexp
}

func compilePattern(s string) (*pattern, error) {
	if len(s) > mesh.MaxRegexBytes {
		return &pattern{}, fmt.Errorf("regular expression of %d characters: at most %d are allowed", len(s),
			mesh.MaxRegexBytes)
	}
	plain, err := regexp.Compile(s)
	if err != nil {
		return &pattern{}, fmt.Errorf("regular expression %q: %w", s, err)
	}
	whole, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return &pattern{}, fmt.Errorf("regular expression %q: %w", s, err)
	}
	literal, _ := plain.LiteralPrefix()
	return &pattern{literal: []byte(literal), re: whole}, nil
}

func (p *pattern) matches(b []byte) bool {
	return bytes.HasPrefix(b, p.literal) && (p.re == nil || p.re.Match(b))
}

// condition is a ServiceProfile's request match.
type condition struct {
	method   string
	pattern  *pattern
	all, any []*condition
	not      *condition
}

func compileCondition(c *mesh.Condition) (out *condition, err error) {
	out = &condition{method: c.Method}
	note := func(e error) { err = cmp.Or(err, e) }
	if c.PathRegex != "" {
		p, e := compilePattern(c.PathRegex)
		out.pattern = p
		note(e)
	}
	for i := range c.All {
		sub, e := compileCondition(&c.All[i])
		out.all = append(out.all, sub)
		note(e)
	}
	for i := range c.Any {
		sub, e := compileCondition(&c.Any[i])
		out.any = append(out.any, sub)
		note(e)
	}
	if c.Not != nil {
		sub, e := compileCondition(c.Not)
		out.not = sub
		note(e)
	}
	return out, err
}

func (c *condition) holds(r *request) bool {
	if c.method != "" && c.method != string(r.head.Method()) || c.pattern != nil && !c.pattern.matches(r.path) {
		return false
	}
	for _, sub := range c.all {
		if !sub.holds(r) {
			return false
		}
	}
	if c.not != nil && c.not.holds(r) {
		return false
	}
	for _, sub := range c.any {
		if sub.holds(r) {
			return true
		}
	}
	return len(c.any) == 0
}
