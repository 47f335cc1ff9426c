package compile

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of one object, so that none can take the time or the memory of the others. They are well above those of the
// CRDs, which an object may pass by, being older than they are.
const (
	MaxRules      = 1024
	maxMatches    = 1024     // of all rules together
	maxBackends   = 256      // of one rule
	maxPrograms   = 64 << 10 // instructions of all regular expressions together, once compiled
	maxConditions = 1024     // of all conditions of a profile together
	maxDepth      = 32       // of one condition
	maxFindings   = 64
)

// compiler turns the spec of one object into what proxies get. It collects what is wrong and goes on.
type compiler struct {
	kind      RouteKind
	namespace string // of the object
	findings  Findings
	// broken is the first mistake that keeps the current rule, or the current use of a backend, from being served.
	broken     string
	references map[mesh.ServiceRef]struct{}
	matches    int
	program    int
	// mistakes counts the findings that are mistakes.
	mistakes int
}

func newCompiler(kind RouteKind, namespace string) *compiler {
	return &compiler{kind: kind, namespace: namespace, references: map[mesh.ServiceRef]struct{}{}}
}

// route completes what was compiled.
func (c *compiler) route(parents []gatewayv1.ParentReference, rules []mesh.Rule, bounds []RuleBounds) *Route {
	r := &Route{Parents: newParentRefs(c.kind, c.namespace, parents), Rules: rules, Bounds: bounds, Findings: c.findings}
	for use := range c.references {
		r.References = append(r.References, use)
	}
	return r
}

func (c *compiler) find(severity Severity, reason gatewayv1.RouteConditionReason, path, format string, args ...any) {
	f := Finding{path, fmt.Sprintf(format, args...), severity, string(reason)}
	if severity == Invalid {
		c.mistakes++
		if c.broken == "" {
			c.broken = f.String()
		}
	}
	// Mistakes decide what becomes of the object, so the first is never left out.
	if len(c.findings) < maxFindings || severity == Invalid && c.mistakes == 1 {
		c.findings = append(c.findings, f)
	}
}

func (c *compiler) unsupported(path, format string, args ...any) {
	c.find(Invalid, gatewayv1.RouteReasonUnsupportedValue, path, format, args...)
}

func (c *compiler) ignored(path, format string, args ...any) {
	c.find(Ignored, gatewayv1.RouteReasonUnsupportedValue, path, format, args...)
}

// ElementPath returns the path of an element of a list.
func ElementPath(path, list string, i int) string { return fmt.Sprintf("%s.%s[%d]", path, list, i) }

// ServiceMatches returns the matches for a Service: list itself if all could be parsed. It replaces each match that
// failed to parse by one that never matches, since no path is empty. The other routes of a Service open nothing that
// this one was to guard.
func ServiceMatches(list []mesh.Match) []mesh.Match {
	out, copied := list, false
	for i := range list {
		if !list[i].Widened {
			continue
		}
		if !copied {
			out, copied = slices.Clone(list), true
		}
		out[i] = mesh.Match{Path: mesh.RegexPath}
	}
	return out
}

// AnyMatch stands for matches that were not read at all.
func AnyMatch() []mesh.Match { return []mesh.Match{{Widened: true}} }

// anyValue is the expression that stands for one with a mistake.
const anyValue = "(?s).*"

// regex checks an expression that proxies are going to compile.
func (c *compiler) regex(path, text string) string {
	if len(text) > mesh.MaxRegexBytes {
		c.unsupported(path, "the regular expression has %d bytes: %d is the most", len(text), mesh.MaxRegexBytes)
		return ""
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		c.unsupported(path, "%q is not an RE2 expression: %v", clip(text), err)
		return ""
	}
	if c.program += programSize(tree); c.program > maxPrograms {
		c.unsupported(path, "the regular expressions of this object are too large: repeat less")
		return ""
	}
	return text
}

// programSize estimates how many instructions the expression compiles to. A short text can make a long program: a{1000}
// again and again.
func programSize(tree *syntax.Regexp) int {
	size := 1
	switch tree.Op {
	case syntax.OpLiteral:
		size = len(tree.Rune)
	case syntax.OpCharClass:
		size = 1 + len(tree.Rune)/2
	}
	for _, sub := range tree.Sub {
		size += programSize(sub)
	}
	if tree.Op == syntax.OpRepeat {
		size *= max(tree.Min, tree.Max, 1)
	}
	return min(size, maxPrograms+1)
}

// forbidden says why a route must not touch the header; "" if it may.
func forbidden(header string) string {
	switch header {
	case "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return "it belongs to the connection"
	}
	if strings.HasPrefix(header, "l5d-") || strings.HasPrefix(header, "tulle-") {
		return "it belongs to the mesh"
	}
	return ""
}

func (c *compiler) headerName(path, text string) string {
	n := strings.ToLower(text)
	if !httpguts.ValidHeaderFieldName(text) {
		c.unsupported(path, "%q is not a header name", clip(text))
	}
	return n
}

func (c *compiler) headerModifier(path string, in *gatewayv1.HTTPHeaderFilter) *mesh.HeaderModifier {
	out := &mesh.HeaderModifier{Set: c.headers(path, "set", in.Set), Add: c.headers(path, "add", in.Add)}
	for i, h := range out.Add {
		if h.Name == "host" {
			c.unsupported(ElementPath(path, "add", i)+".name", "a request has one host: use set")
		}
	}
	for i, n := range in.Remove {
		n = c.editedName(ElementPath(path, "remove", i), n)
		if n == "host" {
			c.unsupported(ElementPath(path, "remove", i), "a request needs a host")
		}
		out.Remove = append(out.Remove, n)
	}
	return out
}

func (c *compiler) headers(path, list string, in []gatewayv1.HTTPHeader) []mesh.Header {
	var out []mesh.Header
	for i, h := range in {
		at := ElementPath(path, list, i)
		if !httpguts.ValidHeaderFieldValue(h.Value) || strings.TrimSpace(h.Value) != h.Value {
			c.unsupported(at+".value", "%q is not a header value", clip(h.Value))
		}
		out = append(out, mesh.Header{Name: c.editedName(at+".name", string(h.Name)), Value: h.Value})
	}
	return out
}

func (c *compiler) editedName(path, text string) string {
	n := c.headerName(path, text)
	if why := forbidden(n); why != "" {
		c.unsupported(path, "a route may not change header %s: %s", n, why)
	}
	return n
}

// backend reads a reference to a Service.
func (c *compiler) backend(path string, in *gatewayv1.BackendObjectReference) mesh.WeightedBackend {
	group, kind := string(value(in.Group)), "Service"
	if in.Kind != nil {
		kind = string(*in.Kind)
	}
	namespace := c.namespace
	if in.Namespace != nil && *in.Namespace != "" {
		namespace = string(*in.Namespace)
	}
	out := mesh.WeightedBackend{Weight: 1, Ref: mesh.Ref{Group: group, Kind: kind, Namespace: namespace,
		Name: string(in.Name)}}
	if !isCore(group) || kind != "Service" {
		out.Invalid = fmt.Sprintf("%s: kind %s of group %q is not a Service", path, clip(kind), clip(group))
		c.find(Unresolved, gatewayv1.RouteReasonInvalidKind, path, "kind %s of group %q is not a Service", clip(kind),
			clip(group))
		return out
	}
	out.Ref.Group = "core"
	out.Service = mesh.ServiceRef{Namespace: namespace, Name: string(in.Name), Port: uint16(value(in.Port))}
	if in.Port == nil || *in.Port < 1 || *in.Port > 65535 {
		out.Invalid = path + ".port: a Service needs a port between 1 and 65535"
		c.find(Unresolved, gatewayv1.RouteReasonBackendNotFound, path+".port", "a Service needs a port between 1 and 65535")
		return out
	}
	c.references[out.Service] = struct{}{}
	return out
}

// maxWeight is Gateway API's.
const maxWeight = 1_000_000

func (c *compiler) weighted(path string, in *gatewayv1.BackendRef) mesh.WeightedBackend {
	out := c.backend(path, &in.BackendObjectReference)
	if in.Weight == nil {
		return out
	}
	if *in.Weight < 0 || *in.Weight > maxWeight {
		c.unsupported(path+".weight", "%d is not a weight: want 0 to %d", *in.Weight, maxWeight)
		out.Invalid = c.broken
		return out
	}
	out.Weight = uint32(*in.Weight)
	return out
}
