package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// istioPolicy makes Servers, routes and AuthorizationPolicies of an AuthorizationPolicy of Istio's. Policies only ever
// allow here. A rule whose restriction cannot be expressed is left out whole: half of it would let in more than was
// meant.
func istioPolicy(o *object) []map[string]any {
	spec := o.spec()
	action := spec.at("action").text()
	labels := spec.at("selector", "matchLabels")
	rules := spec.at("rules").items()
	switch {
	case action != "" && action != "ALLOW":
		o.drop("", "action %s: policies only allow here; leave out of the allowed what is to be denied", action)
		return nil
	case spec.at("targetRef").exists() || spec.at("targetRefs").exists():
		o.drop("", "targetRefs are for gateways and waypoints: write a policy for a Server or a route of the pods")
		return nil
	case o.wholeMesh(labels, rules):
		return nil
	case len(rules) == 0 && !labels.exists():
		o.became("", "annotation %s: deny of namespace %s", inboundPolicy, orDefault(o.namespace))
		return []map[string]any{namespacePolicy(o.namespace, "deny")}
	case !labels.exists():
		return o.namespaceRules(rules)
	}
	var out []map[string]any
	ports := o.serverPorts(rules)
	for _, port := range ports {
		p := istioServer{o: o, labels: labels.raw(), port: port, out: out}
		if len(ports) > 1 {
			p.suffix = "-" + port
		}
		p.attach()
		for i, r := range rules {
			p.rule(r, fmt.Sprintf("%s-%d", o.name, i+1))
		}
		out = p.out
	}
	return out
}

// serverPorts returns the ports that there is a Server for each of: those that the rules name and those that Services
// of the input lead to, or the assumed one. Istio closes the pods' other ports too.
func (o *object) serverPorts(rules []node) []string {
	var ports []string
	for _, r := range rules {
		for _, to := range r.at("to").items() {
			for _, p := range to.at("operation", "ports").texts() {
				if _, err := strconv.Atoi(p); err == nil && !slices.Contains(ports, p) {
					ports = append(ports, p)
				}
			}
		}
	}
	numbers, names := o.targetPorts(o.spec().at("selector", "matchLabels").raw())
	switch {
	case len(ports) == 0:
		ports = append(numbers, names...)
	case len(names) > 0: // a Server by name would exclude one by number, where both mean one port
		o.nearly("spec.selector", "Services of the input lead to ports by name (%s): write a Server for each that is none "+
			"of those that the rules name",
			strings.Join(names, ", "))
		fallthrough
	default:
		for _, p := range numbers {
			if !slices.Contains(ports, p) {
				ports = append(ports, p)
			}
		}
	}
	if len(ports) == 0 {
		o.nearly("spec.selector", "a Server is for one port of the pods, taken to be %d (--port): write one more for each "+
			"other port", o.options.Port)
		return []string{strconv.Itoa(o.options.Port)}
	}
	o.nearly("spec.selector", "a Server is for one port of the pods: there is one for each that the rules name or "+
		"Services of the input lead to (%s); "+
		"write one more for each other port, which Istio closed too", strings.Join(ports, ", "))
	return ports
}

// unconditional reports whether a rule admits every client.
func unconditional(r node) bool { return len(r.keys()) == 0 }

// wholeMesh says how a policy that holds in every namespace is written here, and reports whether it is nothing else.
func (o *object) wholeMesh(labels node, rules []node) bool {
	switch {
	case o.namespace != meshWide:
		return false
	case labels.exists():
		o.nearly("metadata.namespace",
			"in Istio it holds for such pods of every namespace: convert it once more for each namespace that has some")
		return false
	case len(rules) == 0:
		o.nearly("", "for the whole mesh: tulle install --set proxy.defaultInboundPolicy=deny")
	default:
		o.drop("", "it holds for the whole mesh: convert it once more for each namespace, with that as its own")
	}
	return true
}

// namespaceRules allows clients to every Server of the namespace. A rule without any condition admits what mutual TLS
// admits, which is not to deny.
func (o *object) namespaceRules(rules []node) []map[string]any {
	if slices.ContainsFunc(rules, unconditional) {
		policy := "all-unauthenticated"
		if o.mutual(nil) {
			policy = "all-authenticated"
		}
		o.spec().at("rules").done()
		o.became("spec.rules", "annotation %s: %s of namespace %s: a rule without conditions admits every client",
			inboundPolicy, policy, orDefault(o.namespace))
		return []map[string]any{namespacePolicy(o.namespace, policy)}
	}
	out := []map[string]any{namespacePolicy(o.namespace, "deny")}
	o.nearly("spec.rules", "the namespace denies by default; the policies hold for its Servers: write one for each port")
	for i, r := range rules {
		if r.at("to").exists() {
			r.drop("operations need a selector: they become a route on a Server")
			continue
		}
		if r.at("when").exists() {
			r.drop("conditions (when) have no counterpart")
			continue
		}
		name := fmt.Sprintf("%s-%d", o.name, i+1)
		refs, made, ok := o.clients(r, name, nil)
		if !ok {
			continue
		}
		out = append(out, made...)
		out = append(out, o.authorize(name, map[string]any{"kind": "Namespace", "name": orDefault(o.namespace)}, refs))
	}
	return out
}

// istioServer collects what one policy with a selector becomes at one port.
type istioServer struct {
	o      *object
	labels any
	port   string
	suffix string // of names, where the policy is about several ports
	name   string // of the Server
	out    []map[string]any
}

// attach makes the Server that the policy is about.
func (p *istioServer) attach() {
	name, made := p.o.server(p.labels, p.port, p.o.name+p.suffix, "deny")
	p.name = name
	p.out = append(p.out, made...)
	if made != nil {
		p.o.became("spec.selector", "Server %s: its port admits nobody but those who are allowed", name)
	}
}

func (p *istioServer) rule(r node, name string) {
	if r.at("when").exists() {
		r.drop("conditions (when) have no counterpart")
		return
	}
	reach, ok := p.operations(r)
	switch {
	case !ok:
		r.drop("an operation of this rule has no counterpart: only methods, paths and ports have")
		return
	case !reach.concerned:
		return
	}
	refs, made, ok := p.o.clients(r, name, p.labels)
	if !ok {
		return
	}
	p.out = append(p.out, made...)
	name += p.suffix
	target := map[string]any{"group": "policy.linkerd.io", "kind": "Server", "name": p.name}
	if !reach.anything {
		p.out = append(p.out, manifest(gatewayAPI, "HTTPRoute", p.o.namespace, name, map[string]any{
			"parentRefs": []any{map[string]any{"group": "policy.linkerd.io", "kind": "Server", "name": p.name}},
			"rules":      []any{map[string]any{"matches": reach.matches}},
		}))
		target = map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
	}
	p.out = append(p.out, p.o.authorize(name, target, refs))
}

func (o *object) authorize(name string, target map[string]any, refs []any) map[string]any {
	if refs == nil {
		refs = []any{}
	}
	return manifest(policyAlpha, "AuthorizationPolicy", o.namespace, name,
		map[string]any{"targetRef": target, "requiredAuthenticationRefs": refs})
}

// reach is what a rule allows at one port.
type reach struct {
	concerned bool // it allows something there
	anything  bool // whatever the request
	matches   []any
}

// operations converts methods and paths; ok is false when a restriction would be lost.
func (p *istioServer) operations(r node) (to reach, ok bool) {
	list := r.at("to").items()
	if len(list) == 0 {
		return reach{concerned: true, anything: true}, true
	}
	for _, item := range list {
		op := item.at("operation")
		if !op.only("methods", "paths", "ports") {
			return reach{}, false
		}
		if ports := op.at("ports").texts(); len(ports) > 0 && !slices.Contains(ports, p.port) {
			continue
		}
		to.concerned = true
		methods, paths := op.at("methods").texts(), op.at("paths").items()
		to.anything = to.anything || len(methods) == 0 && len(paths) == 0
		for _, path := range orNone(paths) {
			for _, method := range orNone(methods) {
				match := map[string]any{}
				if path.o != nil {
					match["path"] = istioPath(path)
				}
				if method != "" && method != "*" {
					match["method"] = method
				}
				to.matches = append(to.matches, match)
			}
		}
	}
	return to, true
}

// orNone returns one zero value in place of an empty list.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// segments are the wildcards of a path template: one segment, any number of them.
var segments = strings.NewReplacer(regexp.QuoteMeta("{**}"), ".*", regexp.QuoteMeta("{*}"), "[^/]+")

// istioPath converts a path of Istio's: exact, with a wildcard at either end, or a template.
func istioPath(n node) map[string]any {
	switch path := n.text(); {
	case strings.Contains(path, "{*}") || strings.Contains(path, "{**}"):
		return map[string]any{"type": "RegularExpression", "value": segments.Replace(regexp.QuoteMeta(path))}
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

// clients converts the sources of a rule into authentications. ok is false when a restriction would be lost: the rule
// is dropped then. A rule without sources admits every client, but mutual TLS where that is asked of these pods.
func (o *object) clients(r node, name string, labels any) (refs []any, made []map[string]any, ok bool) {
	from, lost := o.sources(r.at("from").items())
	if lost != "" {
		r.drop("%s", lost)
		return nil, nil, false
	}
	authentication := func(kind, field string, list []any) {
		made = append(made, manifest(policyAlpha, kind, o.namespace, name, map[string]any{field: list}))
		refs = append(refs, map[string]any{"group": "policy.linkerd.io", "kind": kind, "name": name})
	}
	if from.networks != nil {
		authentication("NetworkAuthentication", "networks", from.networks)
	}
	switch {
	case from.identities != nil:
		authentication("MeshTLSAuthentication", "identities", from.identities)
	case from.accounts != nil:
		authentication("MeshTLSAuthentication", "identityRefs", from.accounts)
	case o.mutual(labels):
		authentication("MeshTLSAuthentication", "identities", []any{"*"})
	}
	return refs, made, true
}

// sources are the clients of a rule; at most one list is filled.
type sources struct {
	identities []any
	accounts   []any // references to namespaces and ServiceAccounts
	networks   []any
}

// sources reads from; lost says which restriction has no counterpart, empty for none.
func (o *object) sources(from []node) (s sources, lost string) {
	for _, f := range from {
		source := f.at("source")
		switch {
		case !source.only("principals", "namespaces", "ipBlocks") || len(source.keys()) == 0:
			return s, "a source of this rule has no counterpart: only principals, namespaces and ipBlocks have"
		case len(source.keys()) > 1 || len(from) > 1 && source.at("ipBlocks").exists():
			return s, "several kinds of source in one rule: write a policy for each"
		}
		for _, principal := range source.at("principals").items() {
			switch identity, account := o.principal(principal); {
			case identity != "":
				s.identities = append(s.identities, identity)
			case account != nil:
				s.accounts = append(s.accounts, account)
			default:
				return s, fmt.Sprintf("principal %q: only whole ones, those of a whole namespace and * have a counterpart",
					principal.text())
			}
		}
		for _, namespace := range source.at("namespaces").texts() {
			if strings.Contains(namespace, "*") {
				return s, fmt.Sprintf("namespace %q: name the namespaces", namespace)
			}
			s.accounts = append(s.accounts, map[string]any{"kind": "Namespace", "name": namespace})
		}
		for _, block := range source.at("ipBlocks").texts() {
			if !strings.Contains(block, "/") {
				block += hostBits(block)
			}
			s.networks = append(s.networks, map[string]any{"cidr": block})
		}
	}
	if s.identities != nil && s.accounts != nil {
		return s, "names and whole namespaces of clients in one rule: write a policy for each"
	}
	return s, ""
}

// wildPrincipal is what a principal with wildcards may look like: all of a namespace, or one account in any trust
// domain.
var wildPrincipal = regexp.MustCompile(`^(?:\*|[^/*]+)/ns/([^/*]+)/(?:\*|sa/\*|sa/([^/*]+))$`)

// principal converts a principal of Istio's to an identity, or to a reference to a namespace or a ServiceAccount; to
// neither where it has no counterpart.
func (o *object) principal(n node) (identity string, account map[string]any) {
	whole := n.text()
	if whole == "*" || !strings.Contains(whole, "*") {
		return spiffe(whole), nil
	}
	parts := wildPrincipal.FindStringSubmatch(whole)
	switch {
	case parts == nil:
		return "", nil
	case parts[2] != "":
		return "", map[string]any{"kind": "ServiceAccount", "namespace": parts[1], "name": parts[2]}
	}
	return "", map[string]any{"kind": "Namespace", "name": parts[1]}
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
