package convert

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// What Istio says of mutual TLS and of authorization about the same pods adds up, and here both are access policies:
// where they meet, the stricter one holds.

// inboundPolicy is the annotation of what a port without a Server admits.
const inboundPolicy = "config.linkerd.io/default-inbound-policy"

// strictness lists the access policies, the widest first.
var strictness = []string{"audit", "all-unauthenticated", "cluster-unauthenticated", "all-authenticated",
	"cluster-authenticated", "deny"}

// stricter returns the policy that admits less.
func stricter(a, b string) string {
	if slices.Index(strictness, b) > slices.Index(strictness, a) {
		return b
	}
	return a
}

// server returns the name of the Server of a port of some pods, and the Server itself unless another object made it
// before: two Servers of one port would exclude each other.
func (o *object) server(labels any, port, name, access string) (string, []map[string]any) {
	about := fmt.Sprintf("%q %v %s", o.namespace, labels, port)
	if earlier, ok := o.servers[about]; ok {
		spec := earlier["spec"].(map[string]any)
		spec["accessPolicy"] = stricter(text(spec["accessPolicy"]), access)
		name := text(earlier["metadata"].(map[string]any)["name"])
		o.became("spec.selector", "Server %s, which another object about these pods made", name)
		return name, nil
	}
	made := manifest(serverAPI, "Server", o.namespace, name, map[string]any{
		"podSelector": map[string]any{"matchLabels": labels}, "port": portValue(port), "accessPolicy": access,
	})
	o.servers[about] = made
	return name, []map[string]any{made}
}

// peerAuthentication makes access policies of mTLS modes. Source: security.istio.io PeerAuthentication.
func peerAuthentication(o *object) []map[string]any {
	spec := o.spec()
	policy := o.mtls(spec.at("mtls", "mode"))
	if labels := spec.at("selector", "matchLabels"); labels.exists() {
		return o.portLevel(labels, policy)
	}
	spec.at("portLevelMtls").drop("ports are chosen by a Server; give the PeerAuthentication a selector")
	switch {
	case policy == "":
		return nil
	case o.namespace == meshWide:
		o.nearly("spec.mtls", "for the whole mesh: tulle install --set proxy.defaultInboundPolicy=%s", policy)
		return nil
	}
	o.became("spec.mtls", "annotation %s of namespace %s", inboundPolicy, orDefault(o.namespace))
	return []map[string]any{namespacePolicy(o.namespace, policy)}
}

func namespacePolicy(namespace, policy string) map[string]any {
	return annotated(manifest("v1", "Namespace", "", orDefault(namespace), nil), map[string]any{inboundPolicy: policy})
}

// mtls returns the access policy of a mode; "" for one that says nothing.
func (o *object) mtls(mode node) string {
	switch mode.text() {
	case "STRICT":
		return "all-authenticated"
	case "PERMISSIVE":
		return "all-unauthenticated"
	case "DISABLE":
		mode.nearly("mutual TLS cannot be switched off between meshed pods; clients without it are let in")
		return "all-unauthenticated"
	}
	return ""
}

// portLevel makes a Server for each port that a PeerAuthentication names; its own mode belongs to the pods.
func (o *object) portLevel(labels node, policy string) []map[string]any {
	if policy != "" {
		o.nearly("spec.mtls", "annotate the pod template of these pods: %s: %s", inboundPolicy, policy)
	}
	var out []map[string]any
	for _, port := range o.spec().at("portLevelMtls").keys() {
		n := o.spec().at("portLevelMtls", port)
		access := o.mtls(n.at("mode"))
		if _, err := strconv.Atoi(port); access == "" || err != nil {
			continue
		}
		_, made := o.server(labels.raw(), port, o.name+"-"+port, access)
		out = append(out, made...)
	}
	return out
}

// mutual tells whether a PeerAuthentication of the input admits only clients with mutual TLS to the object's pods. The
// narrowest that says something counts: of these pods, of their namespace, of the mesh.
func (o *object) mutual(labels any) bool {
	var mode [3]string
	for _, tree := range o.input {
		if tree["kind"] != "PeerAuthentication" {
			continue
		}
		p := newObject(o.conversion, tree)
		value, selector := p.spec().at("mtls", "mode").text(), p.spec().at("selector", "matchLabels")
		switch {
		case value == "" || value == "UNSET":
		case p.namespace == o.namespace && selector.exists() && reflect.DeepEqual(selector.v, labels):
			mode[0] = value
		case p.namespace == o.namespace && !selector.exists():
			mode[1] = value
		case p.namespace == meshWide && !selector.exists():
			mode[2] = value
		}
	}
	for _, value := range mode {
		if value != "" {
			return value == "STRICT"
		}
	}
	return false
}

// closed tells whether a policy of the input about these pods, or all of the namespace, lets only some clients in. One
// that is about others too, or only some of them, is reported.
func (o *object) closed(labels any) (closed bool) {
	chosen, _ := labels.(map[string]any)
	for _, tree := range o.input {
		p := newObject(o.conversion, tree)
		if p.kind != "AuthorizationPolicy" || p.group != "security.istio.io" || p.namespace != o.namespace &&
			p.namespace != meshWide {
			continue
		}
		action := p.spec().at("action").text()
		if action != "" && action != "ALLOW" || slices.ContainsFunc(p.spec().at("rules").items(), unconditional) {
			continue
		}
		switch selector, _ := p.spec().at("selector", "matchLabels").raw().(map[string]any); {
		case len(selector) == 0 || p.namespace == o.namespace && reflect.DeepEqual(selector, chosen):
			closed = true
		case overlap(selector, chosen):
			o.nearly("spec.workloadSelector", "AuthorizationPolicy %s is about such pods too, by other labels: of two "+
				"Servers of one port, one has no effect", p.name)
		}
	}
	return closed
}

// meshWide is the namespace whose policies hold in all, by Istio's default.
const meshWide = "istio-system"

// targetPorts returns the ports of the pods with these labels that Services of the input lead to: numbers in ascending
// order, and names.
func (o *object) targetPorts(labels any) (numbers, names []string) {
	chosen, _ := labels.(map[string]any)
	for _, tree := range o.input {
		svc := newObject(o.conversion, tree)
		selector, _ := svc.spec().at("selector").raw().(map[string]any)
		if svc.kind != "Service" || svc.group != "" || svc.namespace != o.namespace || len(selector) == 0 ||
			!overlap(selector, chosen) {
			continue
		}
		for _, p := range svc.spec().at("ports").items() {
			target := p.at("targetPort").text()
			if target == "" || target == "0" {
				target = p.at("port").text()
			}
			if protocol := p.at("protocol").text(); target == "" || protocol != "" && protocol != "TCP" {
				continue
			}
			list := &names
			if _, err := strconv.Atoi(target); err == nil {
				list = &numbers
			}
			if !slices.Contains(*list, target) {
				*list = append(*list, target)
			}
		}
	}
	sortPorts(numbers)
	slices.Sort(names)
	return numbers, names
}

// sortPorts sorts numbers of ports.
func sortPorts(ports []string) {
	slices.SortFunc(ports, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
}

// portValue is a Server's port: a number, or the name of a container's port.
func portValue(port string) any {
	if n, err := strconv.Atoi(port); err == nil {
		return n
	}
	return port
}

// overlap reports whether a pod can have the labels of both selectors.
func overlap(a, b map[string]any) bool {
	for k, v := range a {
		if other, ok := b[k]; ok && other != v {
			return false
		}
	}
	return true
}
