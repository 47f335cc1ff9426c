package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// istioPolicy makes a Server, routes and AuthorizationPolicies of an AuthorizationPolicy of Istio's. Policies only ever allow here. A
// rule whose restriction cannot be expressed is left out whole: half of it would let in more than was meant.
func istioPolicy(o *object) []map[string]any {
	spec := o.spec()
	action := spec.at("action").text()
	labels := spec.at("selector", "matchLabels")
	rules := spec.at("rules").items()
	switch {
	case action != "" && action != "ALLOW":
		o.drop("", "action %s: policies only allow here; leave out of the allowed what is to be denied", action)
		return nil
	case len(rules) == 0 && !labels.exists():
		o.became("", "annotation config.linkerd.io/default-inbound-policy: deny of namespace %s", orDefault(o.namespace))
		return []map[string]any{namespacePolicy(o.namespace, "deny")}
	case !labels.exists():
		return o.namespaceRules(rules)
	}
	p := istioServer{o: o}
	p.attach(labels, o.serverPort(rules))
	for i, r := range rules {
		p.rule(r, fmt.Sprintf("%s-%d", o.name, i+1))
	}
	return p.out
}

// serverPort returns the port that all rules name, else the assumed one.
func (o *object) serverPort(rules []node) int {
	var ports []string
	for _, r := range rules {
		for _, to := range r.at("to").items() {
			for _, p := range to.at("operation", "ports").items() {
				if !slices.Contains(ports, text(p.v)) {
					ports = append(ports, text(p.v))
				}
			}
		}
	}
	if len(ports) == 1 {
		if n, err := strconv.Atoi(ports[0]); err == nil {
			return n
		}
	}
	o.nearly("spec.selector", "a Server is for one port of the pods, taken to be %d (--port): write one more for each other port", o.options.Port)
	return o.options.Port
}

// namespaceRules allows clients to every Server of the namespace.
func (o *object) namespaceRules(rules []node) []map[string]any {
	out := []map[string]any{namespacePolicy(o.namespace, "deny")}
	o.nearly("spec.rules", "the namespace denies by default; the policies hold for its Servers: write one for each port")
	for i, r := range rules {
		if r.at("to").exists() {
			r.drop("operations need a selector: they become a route on a Server")
			continue
		}
		name := fmt.Sprintf("%s-%d", o.name, i+1)
		refs, made, ok := o.clients(r, name)
		if !ok {
			continue
		}
		out = append(out, made...)
		out = append(out, o.authorize(name, map[string]any{"kind": "Namespace", "name": orDefault(o.namespace)}, refs))
	}
	return out
}

// istioServer collects what one policy with a selector becomes.
type istioServer struct {
	o    *object
	name string // of the Server
	out  []map[string]any
}

// attach makes the Server that the policy is about. Policies for the same pods share one: two Servers of one port exclude each other,
// while Istio's policies add up.
func (p *istioServer) attach(labels node, port int) {
	o := p.o
	about := fmt.Sprintf("%q %v %d", o.namespace, labels.raw(), port)
	if name, ok := o.servers[about]; ok {
		p.name = name
		o.became("spec.selector", "Server %s, which another policy for these pods made", name)
		return
	}
	p.name, o.servers[about] = o.name, o.name
	p.out = append(p.out, manifest(serverAPI, "Server", o.namespace, o.name, map[string]any{
		"podSelector": map[string]any{"matchLabels": labels.raw()}, "port": port, "accessPolicy": "deny",
	}))
	o.became("spec.selector", "Server %s: its port admits nobody but those who are allowed", o.name)
}

func (p *istioServer) rule(r node, name string) {
	if r.at("when").exists() {
		r.drop("conditions (when) have no counterpart")
		return
	}
	matches, anything, ok := p.operations(r)
	if !ok {
		r.drop("an operation of this rule has no counterpart: only methods, paths and ports have")
		return
	}
	refs, made, ok := p.o.clients(r, name)
	if !ok {
		return
	}
	p.out = append(p.out, made...)
	target := map[string]any{"group": "policy.linkerd.io", "kind": "Server", "name": p.name}
	if !anything {
		p.out = append(p.out, manifest(gatewayAPI, "HTTPRoute", p.o.namespace, name, map[string]any{
			"parentRefs": []any{map[string]any{"group": "policy.linkerd.io", "kind": "Server", "name": p.name}},
			"rules":      []any{map[string]any{"matches": matches}},
		}))
		target = map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
	}
	p.out = append(p.out, p.o.authorize(name, target, refs))
}

func (o *object) authorize(name string, target map[string]any, refs []any) map[string]any {
	if refs == nil {
		refs = []any{}
	}
	return manifest(policyAlpha, "AuthorizationPolicy", o.namespace, name, map[string]any{"targetRef": target, "requiredAuthenticationRefs": refs})
}

// operations converts methods and paths; anything is true for a rule without either.
func (p *istioServer) operations(r node) (matches []any, anything, ok bool) {
	for _, to := range r.at("to").items() {
		op := to.at("operation")
		if !op.only("methods", "paths", "ports") {
			return nil, false, false
		}
		op.at("ports").done()
		methods, paths := op.at("methods").texts(), op.at("paths").items()
		if len(methods) == 0 && len(paths) == 0 {
			return nil, true, true
		}
		for _, path := range orNone(paths) {
			for _, method := range orNone(methods) {
				match := map[string]any{}
				if path.o != nil {
					match["path"] = istioPath(path)
				}
				if method != "" && method != "*" {
					match["method"] = method
				}
				matches = append(matches, match)
			}
		}
	}
	return matches, len(matches) == 0, true
}

// orNone returns one zero value in place of an empty list.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// istioPath converts a path of Istio's: exact, or with a wildcard at either end.
func istioPath(n node) map[string]any {
	switch path := n.text(); {
	case path == "*":
		return map[string]any{"type": "PathPrefix", "value": "/"}
	case strings.HasSuffix(path, "/*"):
		prefix := strings.TrimSuffix(path, "/*")
		if prefix != "" {
			n.nearly("PathPrefix %s: it matches %s itself too", prefix, prefix)
		}
		return map[string]any{"type": "PathPrefix", "value": "/" + strings.TrimPrefix(prefix, "/")}
	case strings.HasSuffix(path, "*"):
		return map[string]any{"type": "RegularExpression", "value": regexp.QuoteMeta(strings.TrimSuffix(path, "*")) + ".*"}
	case strings.HasPrefix(path, "*"):
		return map[string]any{"type": "RegularExpression", "value": ".*" + regexp.QuoteMeta(strings.TrimPrefix(path, "*"))}
	default:
		return map[string]any{"type": "Exact", "value": path}
	}
}

// clients converts the sources of a rule into authentications. ok is false when a restriction would be lost: the rule is dropped then.
func (o *object) clients(r node, name string) (refs []any, made []map[string]any, ok bool) {
	var identities, networks []any
	var namespaces []any
	from := r.at("from").items()
	for _, f := range from {
		source := f.at("source")
		if !source.only("principals", "namespaces", "ipBlocks") {
			r.drop("a source of this rule has no counterpart: only principals, namespaces and ipBlocks have")
			return nil, nil, false
		}
		if len(source.keys()) > 1 || len(from) > 1 && source.at("ipBlocks").exists() {
			r.drop("several kinds of source in one rule: write a policy for each")
			return nil, nil, false
		}
		for _, principal := range source.at("principals").items() {
			identities = append(identities, spiffe(principal.text()))
		}
		for _, namespace := range source.at("namespaces").texts() {
			namespaces = append(namespaces, map[string]any{"kind": "Namespace", "name": namespace})
		}
		for _, block := range source.at("ipBlocks").texts() {
			if !strings.Contains(block, "/") {
				block += hostBits(block)
			}
			networks = append(networks, map[string]any{"cidr": block})
		}
	}
	ref := func(kind string) {
		refs = append(refs, map[string]any{"group": "policy.linkerd.io", "kind": kind, "name": name})
	}
	switch {
	case networks != nil:
		made = append(made, manifest(policyAlpha, "NetworkAuthentication", o.namespace, name, map[string]any{"networks": networks}))
		ref("NetworkAuthentication")
	case identities != nil && namespaces != nil:
		r.drop("principals and namespaces in one rule: write a policy for each")
		return nil, nil, false
	case identities != nil:
		made = append(made, manifest(policyAlpha, "MeshTLSAuthentication", o.namespace, name, map[string]any{"identities": identities}))
		ref("MeshTLSAuthentication")
	case namespaces != nil:
		made = append(made, manifest(policyAlpha, "MeshTLSAuthentication", o.namespace, name, map[string]any{"identityRefs": namespaces}))
		ref("MeshTLSAuthentication")
	}
	return refs, made, true
}

func hostBits(address string) string {
	if strings.Contains(address, ":") {
		return "/128"
	}
	return "/32"
}

// bucketRate returns the requests a second that a token bucket lets through for long.
func bucketRate(bucket node) (float64, bool) {
	tokens := bucket.at("tokens_per_fill").number(0)
	if tokens == 0 {
		tokens = bucket.at("max_tokens").number(0)
	}
	interval, err := time.ParseDuration(bucket.at("fill_interval").text())
	if err != nil || interval <= 0 || tokens <= 0 {
		return 0, false
	}
	return float64(tokens) / interval.Seconds(), true
}
