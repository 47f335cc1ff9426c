package convert

import (
	"maps"
	"strings"
)

// passed returns an object that is not of a mesh, with annotations that tutorials misspell put right.
func passed(o *object) map[string]any {
	tree := o.tree
	for _, path := range [][]string{{"metadata"}, {"spec", "template", "metadata"},
		{"spec", "jobTemplate", "spec", "template", "metadata"}} {
		tree = o.respell(tree, path)
	}
	return tree
}

// Written returns an object of a cluster as somebody wrote it: without its status and what the API server and kubectl
// note in metadata. Applied again, a resourceVersion is refused as soon as the object has changed.
func Written(tree map[string]any) map[string]any {
	meta, ok := tree["metadata"].(map[string]any)
	if !ok {
		return tree
	}
	tree, meta = maps.Clone(tree), maps.Clone(meta)
	tree["metadata"] = meta
	delete(tree, "status")
	for _, field := range []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
		"managedFields", "resourceVersion", "selfLink", "uid"} {
		delete(meta, field)
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		annotations = maps.Clone(annotations)
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		delete(annotations, "deployment.kubernetes.io/revision")
		meta["annotations"] = annotations
		if len(annotations) == 0 {
			delete(meta, "annotations")
		}
	}
	return tree
}

// misspelled are annotations by the names that people write, and those that exist.
var misspelled = map[string]string{
	"config.linkerd.io/proxy-wait-before-exit-seconds": "config.alpha.linkerd.io/proxy-wait-before-exit-seconds",
	"sidecar.istio.io/proxyCPU":                        "config.linkerd.io/proxy-cpu-request",
	"sidecar.istio.io/proxyCPULimit":                   "config.linkerd.io/proxy-cpu-limit",
	"sidecar.istio.io/proxyMemory":                     "config.linkerd.io/proxy-memory-request",
	"sidecar.istio.io/proxyMemoryLimit":                "config.linkerd.io/proxy-memory-limit",
	"sidecar.istio.io/logLevel":                        "config.linkerd.io/proxy-log-level",
	"traffic.sidecar.istio.io/excludeInboundPorts":     "config.linkerd.io/skip-inbound-ports",
	"traffic.sidecar.istio.io/excludeOutboundPorts":    "config.linkerd.io/skip-outbound-ports",
	"traffic.sidecar.istio.io/excludeOutboundIPRanges": "config.linkerd.io/skip-subnets",
}

// respell returns the tree with the annotations below path renamed; it copies what it changes.
func (o *object) respell(tree map[string]any, path []string) map[string]any {
	if len(path) > 0 {
		below, ok := tree[path[0]].(map[string]any)
		if !ok {
			return tree
		}
		changed := o.respell(below, path[1:])
		out := maps.Clone(tree)
		out[path[0]] = changed
		return out
	}
	annotations, _ := tree["annotations"].(map[string]any)
	labels, _ := tree["labels"].(map[string]any)
	if len(annotations) == 0 && len(labels) == 0 {
		return tree
	}
	out, renamed := maps.Clone(tree), map[string]any{}
	for _, k := range keys(annotations) {
		switch right := misspelled[k]; {
		case right != "":
			renamed[right] = annotations[k]
			o.became("annotation "+k, "annotation %s", right)
		case k == "sidecar.istio.io/inject":
			renamed["linkerd.io/inject"] = injection(annotations[k])
			o.became("annotation "+k, "annotation linkerd.io/inject")
		case strings.Contains(k, ".istio.io/"):
			o.drop("annotation "+k, "no counterpart")
		case k == "linkerd.io/inject" && annotations[k] == "ingress":
			renamed[k] = "enabled"
			o.became("annotation "+k, "enabled: an ingress needs no mode of its own, and a Job ends by itself")
		default:
			renamed[k] = annotations[k]
		}
	}
	out["annotations"] = o.labelsOf(out, labels, renamed)
	if len(renamed) == 0 {
		delete(out, "annotations")
	}
	return out
}

// labelsOf turns Istio's injection labels into annotations.
func (o *object) labelsOf(meta, labels, annotations map[string]any) map[string]any {
	rest := map[string]any{}
	for _, k := range keys(labels) {
		switch k {
		case "istio-injection", "sidecar.istio.io/inject":
			annotations["linkerd.io/inject"] = injection(labels[k])
			o.became("label "+k, "annotation linkerd.io/inject")
			continue
		case "istio.io/rev": // names the control plane that injects
			if annotations["linkerd.io/inject"] == nil {
				annotations["linkerd.io/inject"] = "enabled"
			}
			o.became("label "+k, "annotation linkerd.io/inject")
			continue
		}
		rest[k] = labels[k]
	}
	if len(labels) > 0 {
		meta["labels"] = rest
	}
	if len(rest) == 0 {
		delete(meta, "labels")
	}
	return annotations
}

// injection returns the value of linkerd.io/inject for Istio's.
func injection(v any) string {
	if v == "true" || v == "enabled" {
		return "enabled"
	}
	return "disabled"
}
