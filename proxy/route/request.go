package route

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// request is what matchers look at. It looks up once what several of them ask for.
type request struct {
	table  *Table
	head   *message.Head
	path   []byte // canonical
	query  []byte
	parsed bool // query, into parameters

	headers    [slots]value
	parameters [slots]value
}

// slots is how many names are looked up once per request; further ones are looked up at each use.
const slots = 8

type value struct {
	bytes []byte
	state state
}

type state uint8

const (
	unknown state = iota
	present
	absent
)

// fieldTest is the compiled form of mesh.FieldMatch.
type fieldTest struct {
	name    string
	slot    int // index in the table's names
	value   string
	pattern *pattern
}

// compileFields compiles the tests of fields. It ignores further tests of a field: the first entry counts (Gateway API
// HTTPHeaderMatch.name).
func compileFields(in []mesh.FieldMatch, names *[]string, fold func(string) string) (out []fieldTest, err error) {
	for _, f := range in {
		test := fieldTest{name: fold(f.Name), value: f.Value}
		if slices.ContainsFunc(out, func(o fieldTest) bool { return o.name == test.name }) {
			continue
		}
		if f.Regex {
			p, e := compilePattern(f.Value)
			if e != nil && err == nil {
				err = fmt.Errorf("match of %q: %w", f.Name, e)
			}
			test.pattern = p
		}
		if test.slot = slices.Index(*names, test.name); test.slot < 0 {
			test.slot = len(*names)
			*names = append(*names, test.name)
		}
		out = append(out, test)
	}
	return out, err
}

func (f *fieldTest) holds(v []byte) bool {
	if f.pattern != nil {
		return f.pattern.matches(v)
	}
	return string(v) == f.value
}

// header returns a header's value. Several lines count as one, joined with commas (RFC 9110 §5.3).
func (r *request) header(f *fieldTest) (v []byte, ok bool) {
	if f.slot >= slots {
		return r.lookUp(f.name)
	}
	cached := &r.headers[f.slot]
	if cached.state == unknown {
		cached.state = absent
		if v, ok := r.lookUp(f.name); ok {
			*cached = value{v, present}
		}
	}
	return cached.bytes, cached.state == present
}

func (r *request) lookUp(name string) (v []byte, ok bool) {
	if name == "host" || name == ":authority" {
		v = r.head.Authority()
		return v, len(v) > 0
	}
	joined := false
	for i := range r.head.Len() {
		n, line := r.head.Field(i)
		if !message.EqualFold(n, name) {
			continue
		}
		switch {
		case !ok:
			v, ok = line, true
		case !joined:
			joined = true
			v = slices.Concat(v, []byte{','}, line)
		default:
			v = append(append(v, ','), line...)
		}
	}
	return v, ok
}

// parameter returns the first value of a query parameter. It looks at all parameters, so that a client cannot hide one
// behind others.
func (r *request) parameter(f *fieldTest) (v []byte, ok bool) {
	if f.slot >= slots {
		return r.search(f.name)
	}
	if !r.parsed {
		r.parsed = true
		r.parse()
	}
	cached := &r.parameters[f.slot]
	return cached.bytes, cached.state == present
}

func (r *request) parse() {
	names := r.table.query[:min(len(r.table.query), slots)]
	for rest := r.query; len(rest) > 0; {
		var key, v []byte
		key, v, rest = nextParameter(rest)
		for i, name := range names {
			if cached := &r.parameters[i]; cached.state == unknown && string(key) == name {
				*cached = value{unescape(v), present}
			}
		}
	}
}

func (r *request) search(name string) (v []byte, ok bool) {
	for rest := r.query; len(rest) > 0; {
		var key, v []byte
		if key, v, rest = nextParameter(rest); string(key) == name {
			return unescape(v), true
		}
	}
	return nil, false
}

// nextParameter cuts the first parameter off a query. Its name is decoded, its value is not.
func nextParameter(query []byte) (key, v, rest []byte) {
	pair, rest, _ := cut(query, '&')
	key, v, _ = cut(pair, '=')
	return unescape(key), v, rest
}

// unescape decodes a name or value of a form. What is not an encoding stays as it is. Source: WHATWG URL §5.1.
func unescape(s []byte) []byte {
	i := bytes.IndexAny(s, "%+")
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			if v, ok := octet(s[i+1:]); ok {
				out = append(out, v)
				i += 2
				continue
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out
}
