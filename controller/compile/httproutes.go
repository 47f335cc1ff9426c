package compile

import (
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// ParseHTTPRoute reads an HTTPRoute of either group.
func ParseHTTPRoute(kind RouteKind, namespace string, in *gatewayv1.HTTPRouteSpec) *Route {
	c := newCompiler(kind, namespace)
	list := atMost(c, "spec.rules", in.Rules, MaxRules)
	rules, bounds := make([]mesh.Rule, len(list)), make([]RuleBounds, len(list))
	for i := range list {
		rules[i], bounds[i] = c.httpRule(ElementPath("spec", "rules", i), &list[i])
	}
	c.hostnames(in.Hostnames)
	r := c.route(in.ParentRefs, rules, bounds)
	r.Truncated = len(in.Rules) - len(rules)
	return r
}

// hostnames says that the hostnames of a route for requests have no effect. A Service is matched by its address, a
// Server by its port, whatever the host of a request is. Source: GEP-1294.
func (c *compiler) hostnames(names []gatewayv1.Hostname) {
	if len(names) > 0 {
		c.ignored("spec.hostnames", "has no effect: in the mesh, a route matches requests whatever their host is")
	}
}

func (c *compiler) httpRule(path string, in *gatewayv1.HTTPRouteRule) (mesh.Rule, RuleBounds) {
	c.broken = ""
	rule := mesh.Rule{Name: string(value(in.Name)), Matches: c.httpMatches(path, in.Matches)}
	rule.Filters = c.httpFilters(path, in.Filters, prefixesOnly(rule.Matches))
	bounds := RuleBounds{retry: c.retry(path+".retry", in.Retry)}
	if in.Timeouts != nil {
		bounds.request = c.duration(path+".timeouts.request", in.Timeouts.Request)
		bounds.attempt = c.duration(path+".timeouts.backendRequest", in.Timeouts.BackendRequest)
		if r, a := value(bounds.request), value(bounds.attempt); r > 0 && a > r {
			c.unsupported(path+".timeouts.backendRequest", "%v is longer than the whole request may take, %v", a, r)
		}
	}
	if in.SessionPersistence != nil {
		c.ignored(path+".sessionPersistence", "has no effect: session persistence is not supported")
	}
	// The mistake of one backend is that of its share.
	rule.Invalid = c.broken
	refs := atMost(c, path+".backendRefs", in.BackendRefs, maxBackends)
	for i := range refs {
		ref := &refs[i]
		at := ElementPath(path, "backendRefs", i)
		c.broken = ""
		b := c.weighted(at, &ref.BackendRef)
		b.Filters = c.httpFilters(at, ref.Filters, prefixesOnly(rule.Matches))
		c.noCORS(at, b.Filters)
		if rewritesPath(rule.Filters) && rewritesPath(b.Filters) {
			c.find(Invalid, gatewayv1.RouteReasonIncompatibleFilters, at+".filters", "the rule already rewrites the path")
		}
		if b.Invalid == "" {
			b.Invalid = c.broken
		}
		rule.Backends = append(rule.Backends, b)
	}
	return rule, bounds
}

// noCORS refuses CORS filters at a backend.
func (c *compiler) noCORS(path string, filters []mesh.Filter) {
	if slices.ContainsFunc(filters, func(f mesh.Filter) bool { return f.CORS != nil }) {
		c.unsupported(path+".filters", "CORS applies to a whole rule, because what a page may send cannot depend on the "+
			"backend of a request")
	}
}

// atMost cuts off what is too much to look at, and says so.
func atMost[T any](c *compiler, path string, list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	c.unsupported(path, "%d elements: %d is the most", len(list), most)
	return list[:most]
}

func (c *compiler) duration(path string, in *gatewayv1.Duration) *time.Duration {
	if in == nil {
		return nil
	}
	d, err := gatewayDuration(string(*in))
	if err != nil {
		c.unsupported(path, "%v", err)
		return nil
	}
	return &d
}

// Defaults of a retry that leaves them out, which Gateway API leaves to us: the errors of gateways are those that a
// request that is safe to send again is most likely to get over.
const (
	firstRetried, lastRetried = 502, 504
	defaultRetries            = 1
)

func (c *compiler) retry(path string, in *gatewayv1.HTTPRouteRetry) *mesh.Retry {
	if in == nil {
		return nil
	}
	out := &mesh.Retry{Limit: defaultRetries, Backoff: value(c.duration(path+".backoff", in.Backoff))}
	if in.Attempts != nil {
		if *in.Attempts < 0 || *in.Attempts > maxRetries {
			c.unsupported(path+".attempts", "%d retries: want 0 to %d", *in.Attempts, maxRetries)
		} else {
			out.Limit = uint32(*in.Attempts)
		}
	}
	for i, code := range in.Codes {
		if code < 400 || code > 599 {
			c.unsupported(ElementPath(path, "codes", i), "%d is not an error status: want 400 to 599", code)
			continue
		}
		out.Statuses = append(out.Statuses, mesh.StatusRange{First: uint16(code), Last: uint16(code)})
	}
	if len(in.Codes) == 0 {
		out.Statuses = []mesh.StatusRange{{First: firstRetried, Last: lastRetried}}
	}
	return out
}

func (c *compiler) httpMatches(path string, in []gatewayv1.HTTPRouteMatch) []mesh.Match {
	if len(in) == 0 {
		return []mesh.Match{{Path: mesh.PrefixPath, Value: "/"}}
	}
	if c.matches += len(in); c.matches > maxMatches {
		c.unsupported(path+".matches", "the rules have more than %d matches", maxMatches)
		return AnyMatch()
	}
	out := make([]mesh.Match, len(in))
	for i := range in {
		before := c.mistakes
		out[i] = c.httpMatch(ElementPath(path, "matches", i), &in[i])
		out[i].Widened = c.mistakes > before
	}
	return out
}

func (c *compiler) httpMatch(path string, in *gatewayv1.HTTPRouteMatch) mesh.Match {
	out := mesh.Match{Method: string(value(in.Method))}
	c.path(path+".path", in.Path, &out)
	for i := range in.Headers {
		out.Headers = c.header(out.Headers, ElementPath(path, "headers", i), &in.Headers[i])
	}
	for i := range in.QueryParams {
		q, at := &in.QueryParams[i], ElementPath(path, "queryParams", i)
		out.Query = c.addField(out.Query, at, string(value(q.Type)), mesh.FieldMatch{Name: string(q.Name), Value: q.Value})
	}
	return out
}

func (c *compiler) header(list []mesh.FieldMatch, path string, in *gatewayv1.HTTPHeaderMatch) []mesh.FieldMatch {
	before := c.mistakes
	n := c.headerName(path+".name", string(in.Name))
	named := c.mistakes == before
	if out := c.addField(list, path, string(value(in.Type)), mesh.FieldMatch{Name: n, Value: in.Value}); named {
		return out
	}
	return list
}

// addField leaves out a match of a kind that is not supported, and a second one of the same name. Source: Gateway API,
// HTTPRouteMatch.headers: "only the first entry … MUST be considered". The types of headers and of query parameters are
// spelled alike.
func (c *compiler) addField(list []mesh.FieldMatch, path, kind string, m mesh.FieldMatch) []mesh.FieldMatch {
	for i := range list {
		if list[i].Name == m.Name {
			c.ignored(path, "%q is matched above; this match has no effect", clip(m.Name))
			return list
		}
	}
	switch kind {
	case "", string(gatewayv1.HeaderMatchExact):
	case string(gatewayv1.HeaderMatchRegularExpression):
		m.Regex = true
		if before := c.mistakes; c.regex(path+".value", m.Value) == "" && c.mistakes > before {
			m.Value = anyValue
		}
	default:
		c.unsupported(path+".type", "%q is not supported: want Exact or RegularExpression", clip(kind))
		return list
	}
	return append(list, m)
}

// path reads the path of a match; one with a mistake is any.
func (c *compiler) path(path string, in *gatewayv1.HTTPPathMatch, out *mesh.Match) {
	out.Path, out.Value = mesh.PrefixPath, "/"
	if in == nil {
		return
	}
	before := c.mistakes
	if c.knownPath(path, in, out); c.mistakes > before {
		out.Path, out.Value = mesh.AnyPath, ""
	}
}

func (c *compiler) knownPath(path string, in *gatewayv1.HTTPPathMatch, out *mesh.Match) {
	kind := gatewayv1.PathMatchPathPrefix
	if in.Type != nil {
		kind = *in.Type
	}
	if in.Value != nil {
		out.Value = *in.Value
	}
	switch kind {
	case gatewayv1.PathMatchRegularExpression:
		out.Path = mesh.RegexPath
		c.regex(path+".value", out.Value)
		return
	case gatewayv1.PathMatchExact:
		out.Path = mesh.ExactPath
	case gatewayv1.PathMatchPathPrefix:
		if out.Value != "/" {
			out.Value = strings.TrimSuffix(out.Value, "/")
		}
	default:
		c.unsupported(path+".type", "%q is not supported: want Exact, PathPrefix or RegularExpression", clip(string(kind)))
	}
	if !strings.HasPrefix(out.Value, "/") {
		c.unsupported(path+".value", "%q is not a path: a path begins with /", clip(out.Value))
	}
}

// prefixesOnly reports whether every match is one of a prefix, so that there is one to replace.
func prefixesOnly(matches []mesh.Match) bool {
	for i := range matches {
		if matches[i].Path != mesh.PrefixPath {
			return false
		}
	}
	return true
}
