package compile

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

func ParseGRPCRoute(namespace string, in *gatewayv1.GRPCRouteSpec) *Route {
	c := newCompiler(KindGRPCRoute, namespace)
	list := atMost(c, "spec.rules", in.Rules, MaxRules)
	rules := make([]mesh.Rule, len(list))
	for i := range list {
		rules[i] = c.grpcRule(ElementPath("spec", "rules", i), &list[i])
	}
	c.hostnames(in.Hostnames)
	r := c.route(in.ParentRefs, rules, make([]RuleBounds, len(rules)))
	r.Truncated = len(in.Rules) - len(rules)
	return r
}

func (c *compiler) grpcRule(path string, in *gatewayv1.GRPCRouteRule) mesh.Rule {
	c.broken = ""
	rule := mesh.Rule{Name: string(value(in.Name)), Matches: c.grpcMatches(path, in.Matches),
		Filters: c.grpcFilters(path, in.Filters)}
	if in.SessionPersistence != nil {
		c.ignored(path+".sessionPersistence", "sessions are not kept at one endpoint; this has no effect")
	}
	rule.Invalid = c.broken
	refs := atMost(c, path+".backendRefs", in.BackendRefs, maxBackends)
	for i := range refs {
		at := ElementPath(path, "backendRefs", i)
		c.broken = ""
		b := c.weighted(at, &refs[i].BackendRef)
		b.Filters = c.grpcFilters(at, refs[i].Filters)
		if b.Invalid == "" {
			b.Invalid = c.broken
		}
		rule.Backends = append(rule.Backends, b)
	}
	return rule
}

func (c *compiler) grpcMatches(path string, in []gatewayv1.GRPCRouteMatch) []mesh.Match {
	if c.matches += len(in); c.matches > maxMatches {
		c.unsupported(path+".matches", "the rules have more than %d matches", maxMatches)
		return AnyMatch()
	}
	if len(in) == 0 {
		return []mesh.Match{{}}
	}
	out := make([]mesh.Match, len(in))
	for i := range in {
		before := c.mistakes
		out[i] = c.grpcMatch(ElementPath(path, "matches", i), &in[i])
		out[i].Widened = c.mistakes > before
	}
	return out
}

func (c *compiler) grpcMatch(path string, in *gatewayv1.GRPCRouteMatch) mesh.Match {
	var out mesh.Match
	if in.Method != nil {
		c.grpcMethod(path+".method", in.Method, &out)
	}
	for i := range in.Headers {
		h := &in.Headers[i]
		out.Headers = c.header(out.Headers, ElementPath(path, "headers", i), &gatewayv1.HTTPHeaderMatch{
			Type: (*gatewayv1.HeaderMatchType)(h.Type), Name: gatewayv1.HTTPHeaderName(h.Name), Value: h.Value,
		})
	}
	return out
}

// grpcMethod reads the service and the method of a match; one with a mistake is any.
func (c *compiler) grpcMethod(path string, in *gatewayv1.GRPCMethodMatch, out *mesh.Match) {
	service, call := value(in.Service), value(in.Method)
	switch kind := value(in.Type); {
	case service == "" && call == "":
		c.unsupported(path, "want a service, a method or both")
	case kind == "" || kind == gatewayv1.GRPCMethodMatchExact:
		out.Path, out.Service, out.Call = mesh.GRPCExact, service, call
	case kind == gatewayv1.GRPCMethodMatchRegularExpression:
		out.Path, out.Service, out.Call = mesh.GRPCRegex, c.regex(path+".service", service), c.regex(path+".method", call)
	default:
		c.unsupported(path+".type", "%q is not supported: want Exact or RegularExpression", clip(string(kind)))
	}
}

// grpcFilters reads filters as those of an HTTPRoute. A GRPCRoute has a few of them.
func (c *compiler) grpcFilters(path string, in []gatewayv1.GRPCRouteFilter) []mesh.Filter {
	out := make([]gatewayv1.HTTPRouteFilter, len(in))
	for i, f := range in {
		out[i] = gatewayv1.HTTPRouteFilter{
			Type: gatewayv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		}
	}
	return c.httpFilters(path, out, false)
}
