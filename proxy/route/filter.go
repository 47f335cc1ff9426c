package route

import (
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Filters are the compiled filters of a rule or of a backend. The zero Filters do nothing.
type Filters struct {
	request  []mesh.Filter // header modifiers and rewrites, in order
	response []*mesh.HeaderModifier

	// Redirect and CORS make the proxy answer requests itself; nil for none.
	Redirect *mesh.Redirect
	CORS     *CORS
	// Mirrors are where copies of requests go.
	Mirrors []*mesh.Mirror
}

// compileFilters compiles filters. It refuses those that could break the framing of messages.
func compileFilters(in []mesh.Filter, matches []mesh.Match) (out Filters, err error) {
	for _, f := range in {
		var e error
		switch {
		case f.RequestHeaders != nil:
			e = checkModifier(f.RequestHeaders)
			out.request = append(out.request, f)
		case f.ResponseHeaders != nil:
			e = checkModifier(f.ResponseHeaders)
			out.response = append(out.response, f.ResponseHeaders)
		case f.Rewrite != nil:
			e = checkTarget("rewrite", f.Rewrite.Host, f.Rewrite.Path, matches)
			out.request = append(out.request, f)
		case f.Redirect != nil:
			e = checkTarget("redirect", f.Redirect.Host, f.Redirect.Path, matches)
			if !message.IsToken([]byte(f.Redirect.Scheme)) {
				e = fmt.Errorf("redirect to the scheme %q", f.Redirect.Scheme)
			}
			out.Redirect = f.Redirect
		case f.CORS != nil:
			out.CORS, e = compileCORS(f.CORS)
		case f.Mirror != nil:
			out.Mirrors = append(out.Mirrors, f.Mirror)
		default:
			e = fmt.Errorf("a filter without content")
		}
		if e != nil && err == nil {
			err = e
		}
	}
	return out, err
}

func checkModifier(m *mesh.HeaderModifier) error {
	for _, list := range [][]mesh.Header{m.Set, m.Add} {
		for _, h := range list {
			if err := checkName(h.Name); err != nil {
				return err
			}
			if !message.IsFieldValue([]byte(h.Value)) || strings.TrimSpace(h.Value) != h.Value {
				return fmt.Errorf("%q is not a value for the header %s", h.Value, h.Name)
			}
			if h.Name == "host" && (h.Value == "" || !message.IsHost([]byte(h.Value))) {
				return fmt.Errorf("%q is not a host", h.Value)
			}
		}
	}
	for _, name := range m.Remove {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses headers that frame messages or belong to a connection or to the mesh.
func checkName(name string) error {
	switch name {
	case "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade":
		return fmt.Errorf("the header %s belongs to the connection and cannot be changed", name)
	}
	if strings.HasPrefix(name, "l5d-") || strings.HasPrefix(name, "tulle-") {
		return fmt.Errorf("the header %s belongs to the mesh and cannot be changed", name)
	}
	if name == "" || !message.IsLowerToken([]byte(name)) {
		return fmt.Errorf("%q is not the name of a header", name)
	}
	return nil
}

func checkTarget(what, host string, path *mesh.PathModifier, matches []mesh.Match) error {
	if !message.IsHost([]byte(host)) {
		return fmt.Errorf("%s to %q, which is not a host", what, host)
	}
	if path == nil {
		return nil
	}
	if v := path.Value; !message.IsTarget([]byte(v)) || v != "" && v[0] != '/' || strings.Contains(v, "?") {
		return fmt.Errorf("%s to %q, which is not a path", what, v)
	}
	for _, m := range matches {
		if path.Prefix && m.Path != mesh.PrefixPath && m.Path != mesh.AnyPath {
			return fmt.Errorf("%s replaces the prefix of a path, but a match of the rule has none", what)
		}
	}
	return nil
}

func (f *Filters) rewrites() bool {
	for _, filter := range f.request {
		if filter.Rewrite != nil && filter.Rewrite.Path != nil {
			return true
		}
	}
	return false
}

// EditRequest edits the request as the filters say. hit is how it matched the rule.
func (f *Filters) EditRequest(h *message.Head, hit Hit) {
	for _, filter := range f.request {
		if m := filter.RequestHeaders; m != nil {
			modify(h, m)
			continue
		}
		if filter.Rewrite.Host != "" {
			h.SetPart(message.Authority, filter.Rewrite.Host)
		}
		if p := filter.Rewrite.Path; p != nil && isPath(h.Path()) {
			h.Place(message.Path, store(h, func(b []byte) []byte { return appendPath(b, h.Path(), hit.prefix, p) }))
		}
	}
}

// EditResponse edits the response as the filters say.
func (f *Filters) EditResponse(h *message.Head) {
	for _, m := range f.response {
		modify(h, m)
	}
}

// isPath reports whether p is a path. The targets of OPTIONS * and of CONNECT are not.
func isPath(p []byte) bool { return len(p) > 0 && p[0] == '/' }

// store appends to the arena what build appends.
func store(h *message.Head, build func([]byte) []byte) message.Span {
	arena := h.Arena()
	from := len(arena)
	arena = build(arena)
	h.SetArena(arena)
	return message.Span{Off: uint32(from), Len: uint32(len(arena) - from)}
}

// appendPath appends the changed path and the query as it was. Source: Gateway API, table of
// HTTPPathModifier.replacePrefixMatch.
func appendPath(dst, target []byte, prefix int, m *mesh.PathModifier) []byte {
	path, query, asked := cut(target, '?')
	start := len(dst)
	if m.Prefix {
		dst = append(dst, strings.TrimRight(m.Value, "/")...)
		dst = append(dst, canonical(path)[max(prefix, 0):]...)
	} else {
		dst = append(dst, m.Value...)
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	if asked {
		dst = append(append(dst, '?'), query...)
	}
	return dst
}

// modify edits fields: Set, then Add, then Remove. The authority is the field "host" here, as it is in routes.
func modify(h *message.Head, m *mesh.HeaderModifier) {
	for i := range m.Set {
		if m.Set[i].Name == "host" {
			h.SetPart(message.Authority, m.Set[i].Value)
			continue
		}
		h.Set(m.Set[i].Name, m.Set[i].Value)
	}
	for i := range m.Add {
		if m.Add[i].Name != "host" { // a request has exactly one
			add(h, m.Add[i])
		}
	}
	for _, name := range m.Remove {
		h.Del(name)
	}
}

// add joins the value to the existing ones (RFC 9110 §5.3), because applications read only the first line of a field.
// Each cookie is set by a line of its own.
func add(h *message.Head, a mesh.Header) {
	if a.Name == "set-cookie" || !h.Has(a.Name) {
		h.Add(a.Name, a.Value)
		return
	}
	var joined []byte
	h.DelFunc(func(name, value []byte) bool {
		is := message.EqualFold(name, a.Name)
		if is {
			joined = append(append(joined, value...), ',')
		}
		return is
	})
	h.Add(a.Name, string(append(joined, a.Value...)))
}
