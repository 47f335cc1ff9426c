package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// virtualService makes HTTPRoutes and TCPRoutes of a VirtualService. Source: networking.istio.io VirtualService.
func virtualService(o *object) []map[string]any {
	v := vs{o: o}
	spec := o.spec()
	for _, g := range spec.at("gateways").items() {
		if g.text() != "mesh" {
			g.drop("routes of a gateway belong to the gateway's own HTTPRoute; this one governs traffic inside the mesh")
		}
	}
	for i, host := range spec.at("hosts").items() {
		name, namespace, ok := o.service(host.text())
		if !ok {
			host.drop("%q is no Service of the cluster", host.text())
			continue
		}
		v.host, v.namespace = name, namespace
		v.suffix = ""
		if i > 0 {
			v.suffix = "-" + name
		}
		v.routes()
	}
	spec.at("exportTo").drop("a route in the Service's namespace holds for every client, one in a client's namespace " +
		"for that namespace")
	return v.out
}

// service returns the Service that a host of Istio's names; a short name is in the object's namespace.
func (o *object) service(host string) (name, namespace string, ok bool) {
	parts := strings.Split(host, ".")
	switch {
	case host == "" || strings.Contains(host, "*"):
		return "", "", false
	case len(parts) == 1:
		return host, o.namespace, true
	case len(parts) >= 3 && parts[2] == "svc":
		return parts[0], parts[1], true
	}
	return "", "", false
}

// vs converts one VirtualService.
type vs struct {
	o                       *object
	host, namespace, suffix string // of the parent, and what follows the route's name for it
	out                     []map[string]any
}

// routes converts all for one host. Retries and faults are annotations of a whole route, so rules that have them get a
// route each.
func (v *vs) routes() {
	http := v.o.spec().at("http")
	apart := len(http.items()) > 1 && slices.ContainsFunc(http.items(), func(r node) bool {
		return r.at("retries").exists() || r.at("fault").exists()
	})
	if len(http.items()) > 1 {
		http.nearly("Istio takes the first rule that matches; here the most specific match counts, and the order only " +
			"between equals")
	}
	var rules []any
	annotations := map[string]any{}
	for i, r := range http.items() {
		made, tuning := v.rules(r), v.annotations(r)
		if made == nil {
			continue
		}
		if apart {
			v.add("HTTPRoute", fmt.Sprintf("%s%s-%d", v.o.name, v.suffix, i+1), 0, made, tuning)
			continue
		}
		rules = append(rules, made...)
		for k, a := range tuning {
			annotations[k] = a
		}
	}
	if len(rules) > 0 {
		v.add("HTTPRoute", v.o.name+v.suffix, 0, rules, annotations)
	}
	for i, r := range v.o.spec().at("tcp").items() {
		v.stream(fmt.Sprintf("%s%s-tcp-%d", v.o.name, v.suffix, i+1), r)
	}
	v.o.spec().at("tls").drop("write a TLSRoute: its hostnames are the server names of the clients' TLS")
}

// add makes a route for a port of the host; port 0 is the one that the Service has.
func (v *vs) add(kind, name string, port int, rules []any, annotations map[string]any) {
	apiVersion := gatewayAPI
	if kind == "TCPRoute" {
		apiVersion = "gateway.networking.k8s.io/v1alpha2"
	}
	if port == 0 {
		port = v.o.servicePort(v.host, v.namespace, v.o.spec().at("hosts"))
	}
	parent := parentService(v.host, port)
	if v.namespace != v.o.namespace {
		parent["namespace"] = v.namespace
		v.o.nearly("spec.hosts", "the Service is in namespace %s: a route of another namespace holds for clients of its "+
			"own namespace only", v.namespace)
	}
	route := manifest(apiVersion, kind, v.o.namespace, name, map[string]any{"parentRefs": []any{parent}, "rules": rules})
	v.out = append(v.out, annotated(route, annotations))
}

// rules converts one entry of http: nil if it cannot be expressed at all, several where its matches need different
// filters.
func (v *vs) rules(r node) []any {
	var matches []map[string]any
	for _, m := range r.at("match").items() {
		match, ok := v.match(m)
		if !ok {
			m.drop("a condition of this match has no counterpart, and without it the match would be wider")
			continue
		}
		matches = append(matches, match)
	}
	if r.at("match").exists() && len(matches) == 0 {
		r.done()
		return nil
	}
	var rules []any
	for i, group := range rewritten(r.at("rewrite", "uri"), matches) {
		rule := v.rule(r, group.path)
		if len(group.matches) > 0 {
			rule["matches"] = group.matches
		}
		if name, ok := rule["name"]; ok && i > 0 {
			rule["name"] = fmt.Sprintf("%s-%d", name, i+1)
		}
		rules = append(rules, rule)
	}
	return rules
}

// rule converts what an entry of http does, with the modifier of its path.
func (v *vs) rule(r node, path map[string]any) map[string]any {
	rule := map[string]any{}
	if name := r.at("name"); name.exists() {
		rule["name"] = name.text()
	}
	if filters := v.filters(r, path); len(filters) > 0 {
		rule["filters"] = filters
	}
	if backends := v.backends(r.at("route")); len(backends) > 0 {
		rule["backendRefs"] = backends
	}
	if timeout := r.at("timeout"); timeout.exists() {
		rule["timeouts"] = map[string]any{"request": timeout.duration()}
	}
	r.at("delegate").drop("write the delegate's rules here")
	r.at("directResponse").drop("the mesh has no fixed answers")
	return rule
}

// modified are matches with one modifier of the path, nil for none.
type modified struct {
	matches []any
	path    map[string]any
}

// rewritten groups matches by what a rewrite makes of their paths: Istio's replaces the prefix that was matched, else
// the whole path. A rule that replaces a prefix has just the one match, and a match without a path is one of the prefix
// /.
func rewritten(uri node, matches []map[string]any) []modified {
	var plain modified
	if !uri.exists() {
		for _, m := range matches {
			plain.matches = append(plain.matches, m)
		}
		return []modified{plain}
	}
	if len(matches) == 0 {
		matches = []map[string]any{{}}
	}
	var out []modified
	plain.path = map[string]any{"type": "ReplaceFullPath", "replaceFullPath": uri.text()}
	for _, m := range matches {
		if m["path"] == nil {
			m["path"] = map[string]any{"type": "PathPrefix", "value": "/"}
		}
		if m["path"].(map[string]any)["type"] != "PathPrefix" {
			plain.matches = append(plain.matches, m)
			continue
		}
		out = append(out, modified{[]any{m}, map[string]any{"type": "ReplacePrefixMatch", "replacePrefixMatch": uri.text()}})
	}
	if plain.matches != nil {
		out = append(out, plain)
	}
	return out
}

// match converts one alternative. ok is false when a condition of it would be lost.
func (v *vs) match(m node) (match map[string]any, ok bool) {
	match = map[string]any{}
	if !m.only("name", "uri", "method", "headers", "queryParams", "ignoreUriCase") ||
		m.at("ignoreUriCase").text() == "true" {
		return nil, false
	}
	m.at("name").done()
	if uri := m.at("uri"); uri.exists() {
		if match["path"] = v.path(uri); match["path"] == nil {
			return nil, false
		}
	}
	if method := m.at("method"); method.exists() {
		if !method.at("exact").exists() {
			return nil, false
		}
		match["method"] = method.at("exact").text()
	}
	for _, key := range []string{"headers", "queryParams"} {
		fields, ok := fieldMatches(m.at(key))
		if !ok {
			return nil, false
		}
		if len(fields) > 0 {
			match[key] = fields
		}
	}
	return match, true
}

// path converts a condition of the path, nil for one without an operator.
func (v *vs) path(uri node) any {
	if exact := uri.at("exact"); exact.exists() {
		return map[string]any{"type": "Exact", "value": exact.text()}
	}
	if regex := uri.at("regex"); regex.exists() {
		return map[string]any{"type": "RegularExpression", "value": regex.text()}
	}
	prefix := uri.at("prefix")
	if !prefix.exists() {
		return nil
	}
	value := prefix.text()
	if value != "/" && !strings.HasSuffix(value, "/") {
		prefix.nearly("Istio's prefix %q matches %q too; PathPrefix matches whole segments", value, value+"x")
	}
	if value != "/" {
		value = strings.TrimSuffix(value, "/")
	}
	return map[string]any{"type": "PathPrefix", "value": value}
}

// fieldMatches converts header and query conditions; a prefix is a regular expression here. ok is false for an operator
// that does not exist.
func fieldMatches(n node) (out []any, ok bool) {
	for _, name := range n.keys() {
		m := map[string]any{"name": name}
		switch f := n.at(name); {
		case f.at("exact").exists():
			m["value"] = f.at("exact").text()
		case f.at("regex").exists():
			m["type"], m["value"] = "RegularExpression", f.at("regex").text()
		case f.at("prefix").exists():
			m["type"], m["value"] = "RegularExpression", regexp.QuoteMeta(f.at("prefix").text())+".*"
		case len(f.keys()) > 0:
			return nil, false
		default: // {} asks for presence
			f.done()
			m["type"], m["value"] = "RegularExpression", ".*"
		}
		out = append(out, m)
	}
	return out, true
}

func (v *vs) backends(routes node) []any {
	var out []any
	only := len(routes.items()) == 1
	for _, r := range routes.items() {
		ref := v.destination(r.at("destination"))
		if ref == nil {
			continue
		}
		if w := r.at("weight"); w.exists() {
			ref["weight"] = w.number(0)
		} else if !only {
			ref["weight"] = 0 // Istio's default among several
		}
		if filters := headerFilters(r.at("headers")); len(filters) > 0 {
			ref["filters"] = filters
		}
		out = append(out, ref)
	}
	return out
}

// destination converts a host and its subset: a subset is a Service of its own here.
func (v *vs) destination(d node) map[string]any {
	name, namespace, ok := v.o.service(d.at("host").text())
	if !ok {
		d.drop("%q is no Service of the cluster", d.at("host").text())
		return nil
	}
	port := d.at("port", "number").number(0)
	if port == 0 {
		port = v.o.servicePort(name, namespace, d.at("host"))
	}
	ref := map[string]any{"name": name, "port": port}
	if namespace != v.o.namespace {
		ref["namespace"] = namespace
		d.at("host").nearly("a backend in namespace %s needs a ReferenceGrant there", namespace)
	}
	if subset := d.at("subset"); subset.exists() {
		ref["name"] = subsetService(name, subset.text())
		if v.o.subset(name, subset.text()) == nil {
			subset.nearly("a subset is a Service here: write one named %s that selects the pods of %q", ref["name"],
				subset.text())
		} else {
			v.o.became(subset.path, "Service %s", ref["name"])
		}
	}
	return ref
}

func subsetService(host, subset string) string { return host + "-" + subset }

// subset returns a subset of a DestinationRule in the input.
func (o *object) subset(host, subset string) map[string]any {
	for _, tree := range o.input {
		if tree["kind"] != "DestinationRule" {
			continue
		}
		rule := newObject(o.conversion, tree)
		if name, _, ok := rule.service(rule.spec().at("host").text()); !ok || name != host {
			continue
		}
		for _, s := range rule.spec().at("subsets").items() {
			if s.at("name").text() == subset {
				m, _ := s.v.(map[string]any)
				return m
			}
		}
	}
	return nil
}

// stream converts one entry of tcp. A TCPRoute has no matches: it takes every connection to one port.
func (v *vs) stream(name string, r node) {
	port := 0
	match := r.at("match")
	if list := match.items(); len(list) == 1 && list[0].only("port") {
		port = list[0].at("port").number(0)
	} else {
		match.drop("a TCPRoute has no matches: it takes every connection to the Service's port")
	}
	if backends := v.backends(r.at("route")); len(backends) > 0 {
		v.add("TCPRoute", name, port, []any{map[string]any{"backendRefs": backends}}, nil)
	}
}
