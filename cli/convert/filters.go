package convert

import (
	"math"
	"strconv"
	"time"
)

// filters converts what changes or copies the requests of a rule; path is the modifier of a rewrite, nil for none.
func (v *vs) filters(r node, path map[string]any) []any {
	out := headerFilters(r.at("headers"))
	rewrite := map[string]any{}
	if path != nil {
		rewrite["path"] = path
	}
	if authority := r.at("rewrite", "authority"); authority.exists() {
		rewrite["hostname"] = authority.text()
	}
	if len(rewrite) > 0 {
		out = append(out, map[string]any{"type": "URLRewrite", "urlRewrite": rewrite})
	}
	if redirect := r.at("redirect"); redirect.exists() {
		out = append(out, redirectFilter(redirect))
	}
	if cors := r.at("corsPolicy"); cors.exists() {
		out = append(out, corsFilter(cors))
	}
	for _, m := range append([]node{r.at("mirror")}, r.at("mirrors").items()...) {
		if !m.exists() {
			continue
		}
		target := m
		if m.at("destination").exists() {
			target = m.at("destination")
		}
		if f := v.mirror(target, r.at("mirrorPercentage", "value"), m.at("percentage", "value")); f != nil {
			out = append(out, f)
		}
	}
	return out
}

func (v *vs) mirror(destination node, shares ...node) map[string]any {
	ref := v.destination(destination)
	if ref == nil {
		return nil
	}
	m := map[string]any{"backendRef": ref}
	for _, share := range shares {
		percent, err := strconv.ParseFloat(share.text(), 64)
		switch {
		case err != nil || percent == 100:
		case percent == math.Trunc(percent):
			m["percent"] = int(percent)
		default:
			m["fraction"] = map[string]any{"numerator": int(math.Round(percent * 1000)), "denominator": 100_000}
		}
	}
	return map[string]any{"type": "RequestMirror", "requestMirror": m}
}

func redirectFilter(n node) map[string]any {
	f := map[string]any{}
	if uri := n.at("uri"); uri.exists() {
		f["path"] = map[string]any{"type": "ReplaceFullPath", "replaceFullPath": uri.text()}
	}
	if host := n.at("authority"); host.exists() {
		f["hostname"] = host.text()
	}
	if scheme := n.at("scheme"); scheme.exists() {
		f["scheme"] = scheme.text()
	}
	if port := n.at("port"); port.exists() {
		f["port"] = port.number(0)
	}
	f["statusCode"] = n.at("redirectCode").number(301) // Istio's default
	return map[string]any{"type": "RequestRedirect", "requestRedirect": f}
}

func corsFilter(n node) map[string]any {
	f := map[string]any{}
	var origins []any
	for _, origin := range n.at("allowOrigins").items() {
		if exact := origin.at("exact"); exact.exists() {
			origins = append(origins, exact.text())
			continue
		}
		origin.drop("only exact origins, and those that begin with a wildcard label, are compared")
	}
	if origins != nil {
		f["allowOrigins"] = origins
	}
	for _, k := range []string{"allowMethods", "allowHeaders", "exposeHeaders"} {
		if list := n.at(k); list.exists() {
			f[k] = list.raw()
		}
	}
	if credentials := n.at("allowCredentials"); credentials.exists() {
		f["allowCredentials"] = credentials.text() == "true"
	}
	if age, err := time.ParseDuration(n.at("maxAge").text()); err == nil {
		f["maxAge"] = int(age.Seconds())
	}
	return map[string]any{"type": "CORS", "cors": f}
}

// headerFilters converts Istio's headers.request and headers.response.
func headerFilters(n node) []any {
	var out []any
	for _, side := range []struct{ key, filter, field string }{
		{"request", "RequestHeaderModifier", "requestHeaderModifier"}, {"response", "ResponseHeaderModifier",
			"responseHeaderModifier"},
	} {
		f := map[string]any{}
		for _, op := range []string{"set", "add"} {
			var list []any
			for _, name := range n.at(side.key, op).keys() {
				list = append(list, map[string]any{"name": name, "value": n.at(side.key, op, name).text()})
			}
			if list != nil {
				f[op] = list
			}
		}
		if remove := n.at(side.key, "remove"); remove.exists() {
			f["remove"] = remove.raw()
		}
		if len(f) > 0 {
			out = append(out, map[string]any{"type": side.filter, side.field: f})
		}
	}
	return out
}
