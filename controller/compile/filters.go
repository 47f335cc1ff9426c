package compile

import (
	"net/url"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// maxFilters is Gateway API's.
const maxFilters = 16

// httpFilters reads the filters of a rule or of a backend. prefixes says that the rule matches prefixes alone.
func (c *compiler) httpFilters(path string, in []gatewayv1.HTTPRouteFilter, prefixes bool) []mesh.Filter {
	var out []mesh.Filter
	in = atMost(c, path+".filters", in, maxFilters)
	var redirects, rewrites bool
	for i := range in {
		f, ok := c.httpFilter(ElementPath(path, "filters", i), &in[i], prefixes)
		if !ok {
			continue
		}
		redirects, rewrites = redirects || f.Redirect != nil, rewrites || f.Rewrite != nil
		out = append(out, f)
	}
	if redirects && rewrites {
		c.find(Invalid, gatewayv1.RouteReasonIncompatibleFilters, path+".filters",
			"a request is either redirected or rewritten")
	}
	return out
}

// rewritesPath reports whether one of the filters does.
func rewritesPath(filters []mesh.Filter) bool {
	return slices.ContainsFunc(filters, func(f mesh.Filter) bool { return f.Rewrite != nil && f.Rewrite.Path != nil })
}

// httpFilter returns one filter; ok is false if it cannot be applied, and then there is a finding.
func (c *compiler) httpFilter(path string, in *gatewayv1.HTTPRouteFilter, prefixes bool) (f mesh.Filter, ok bool) {
	var field string
	switch in.Type {
	case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
		field, f.RequestHeaders = "requestHeaderModifier", c.optionalModifier(path+".requestHeaderModifier",
			in.RequestHeaderModifier)
		ok = f.RequestHeaders != nil
	case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		field, f.ResponseHeaders = "responseHeaderModifier", c.optionalModifier(path+".responseHeaderModifier",
			in.ResponseHeaderModifier)
		ok = f.ResponseHeaders != nil
	case gatewayv1.HTTPRouteFilterRequestRedirect:
		if field, ok = "requestRedirect", in.RequestRedirect != nil; ok {
			f.Redirect = c.redirect(path+"."+field, in.RequestRedirect, prefixes)
		}
	case gatewayv1.HTTPRouteFilterURLRewrite:
		if field, ok = "urlRewrite", in.URLRewrite != nil; ok {
			f.Rewrite = &mesh.Rewrite{
				Host: c.host(path+"."+field+".hostname", (*string)(in.URLRewrite.Hostname)),
				Path: c.pathModifier(path+"."+field+".path", in.URLRewrite.Path, prefixes),
			}
		}
	case gatewayv1.HTTPRouteFilterRequestMirror:
		if field, ok = "requestMirror", in.RequestMirror != nil; ok {
			f.Mirror = c.mirror(path+"."+field, in.RequestMirror)
		}
	case gatewayv1.HTTPRouteFilterCORS:
		if field, ok = "cors", in.CORS != nil; ok {
			f.CORS = c.cors(path+"."+field, in.CORS)
		}
	default:
		c.unsupported(path+".type", "filter %q is not supported", clip(string(in.Type)))
		return f, false
	}
	if !ok {
		c.unsupported(path+"."+field, "a filter of type %s needs this field", in.Type)
	}
	return f, ok
}

func (c *compiler) optionalModifier(path string, in *gatewayv1.HTTPHeaderFilter) *mesh.HeaderModifier {
	if in == nil {
		return nil
	}
	return c.headerModifier(path, in)
}

// host reads a precise hostname; "" for nil.
func (c *compiler) host(path string, in *string) string {
	if in == nil {
		return ""
	}
	if *in == "" || strings.ContainsFunc(*in, func(r rune) bool { return !isHostRune(r) }) {
		c.unsupported(path, "%q is not a hostname", clip(*in))
	}
	return *in
}

func isHostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

func (c *compiler) pathModifier(path string, in *gatewayv1.HTTPPathModifier, prefixes bool) *mesh.PathModifier {
	if in == nil {
		return nil
	}
	out := &mesh.PathModifier{}
	switch in.Type {
	case gatewayv1.FullPathHTTPPathModifier:
		out.Value = value(in.ReplaceFullPath)
	case gatewayv1.PrefixMatchHTTPPathModifier:
		out.Prefix, out.Value = true, value(in.ReplacePrefixMatch)
		if !prefixes {
			c.find(Invalid, gatewayv1.RouteReasonIncompatibleFilters, path,
				"ReplacePrefixMatch needs a rule whose matches are all of type PathPrefix")
		}
	default:
		c.unsupported(path+".type", "%q is not supported: want ReplaceFullPath or ReplacePrefixMatch", clip(string(in.Type)))
	}
	// What a request line cannot carry must not get there, and a query is not part of a path.
	wrong := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' || r == '?' }
	if strings.ContainsFunc(out.Value, wrong) || out.Value != "" && out.Value[0] != '/' {
		c.unsupported(path, "%q is not a path: a path begins with / and has no query", clip(out.Value))
	}
	return out
}

func (c *compiler) redirect(path string, in *gatewayv1.HTTPRequestRedirectFilter, prefixes bool) *mesh.Redirect {
	out := &mesh.Redirect{
		Scheme: value(in.Scheme), Host: c.host(path+".hostname",
			(*string)(in.Hostname)), Port: uint16(value(in.Port)), Status: 302,
		Path: c.pathModifier(path+".path", in.Path, prefixes),
	}
	if s := out.Scheme; s != "" && s != "http" && s != "https" {
		c.unsupported(path+".scheme", "%q is not supported: want http or https", clip(s))
	}
	if in.Port != nil && (*in.Port < 1 || *in.Port > 65535) {
		c.unsupported(path+".port", "%d is not a port", *in.Port)
	}
	if in.StatusCode != nil {
		out.Status = *in.StatusCode
	}
	switch out.Status {
	case 301, 302, 303, 307, 308:
	default:
		c.unsupported(path+".statusCode", "%d is not supported: want 301, 302, 303, 307 or 308", out.Status)
	}
	return out
}

func (c *compiler) mirror(path string, in *gatewayv1.HTTPRequestMirrorFilter) *mesh.Mirror {
	out := &mesh.Mirror{Backend: c.backend(path+".backendRef", &in.BackendRef), Numerator: 1, Denominator: 1}
	switch {
	case in.Percent != nil && in.Fraction != nil:
		c.unsupported(path, "want either percent or fraction")
	case in.Percent != nil:
		if *in.Percent < 0 || *in.Percent > 100 {
			c.unsupported(path+".percent", "%d is not a percentage", *in.Percent)
			break
		}
		out.Numerator, out.Denominator = uint32(*in.Percent), 100
	case in.Fraction != nil:
		of := int32(100)
		if in.Fraction.Denominator != nil {
			of = *in.Fraction.Denominator
		}
		if of < 1 || in.Fraction.Numerator < 0 || in.Fraction.Numerator > of {
			c.unsupported(path+".fraction", "%d of %d is not a fraction", in.Fraction.Numerator, of)
			break
		}
		out.Numerator, out.Denominator = uint32(in.Fraction.Numerator), uint32(of)
	}
	return out
}

// defaultMaxAge is Gateway API's.
const defaultMaxAge = 5 * time.Second

func (c *compiler) cors(path string, in *gatewayv1.HTTPCORSFilter) *mesh.CORS {
	out := &mesh.CORS{AllowCredentials: value(in.AllowCredentials), MaxAge: defaultMaxAge}
	if in.MaxAge > 0 {
		out.MaxAge = time.Duration(in.MaxAge) * time.Second
	}
	for i, o := range in.AllowOrigins {
		if u, err := url.Parse(string(o)); o != "*" &&
			(err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			c.unsupported(ElementPath(path, "allowOrigins", i),
				"%q is not an origin: want * or scheme://host, with a port if it needs one", clip(string(o)))
		}
		out.AllowOrigins = append(out.AllowOrigins, string(o))
	}
	for _, m := range in.AllowMethods {
		out.AllowMethods = append(out.AllowMethods, string(m))
	}
	headers := func(list string, in []gatewayv1.HTTPHeaderName) (out []string) {
		for i, h := range in {
			if h != "*" {
				c.headerName(ElementPath(path, list, i), string(h))
			}
			out = append(out, string(h))
		}
		return out
	}
	out.AllowHeaders, out.ExposeHeaders = headers("allowHeaders", in.AllowHeaders), headers("exposeHeaders",
		in.ExposeHeaders)
	return out
}
