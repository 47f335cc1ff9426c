package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/internal/spelling"
	"github.com/tulle-mesh/tulle/mesh"
)

// meaningless lists the annotations below config.linkerd.io/ that Linkerd knows and Tulle does not need, each with the
// reason and what to do instead.
func meaningless() map[string]string {
	const (
		debug = "a shell beside the application is `kubectl debug -it POD --image=... --target=CONTAINER`, at any time " +
			"and without a restart"
		init   = "capture is programmed by the proxy's own image; set proxy-image and proxy-version"
		always = "mesh TLS and identity are always on; to let a port bypass the proxy use skip-inbound-ports or " +
			"skip-outbound-ports"
	)
	return map[string]string{
		"enable-debug-sidecar":     debug,
		"debug-image":              debug,
		"debug-image-version":      debug,
		"debug-image-pull-policy":  debug,
		"init-image":               init,
		"init-image-version":       init,
		"disable-identity":         always,
		"proxy-disable-identity":   always,
		"identity-mode":            always,
		"proxy-log-http-headers":   "header values are never logged; use access-log for one line a request",
		"enable-external-profiles": "names outside the cluster are forwarded as they are",
		"enable-gateway":           "multicluster gateways are not part of this version",
		"close-wait-timeout": "it needs a privileged init container; set " +
			"net.netfilter.nf_conntrack_tcp_timeout_close_wait on the node",
		"pod-inbound-ports":             "one answer covers the policy of every port of a pod",
		"proxy-outbound-transport-mode": "connections always go to the pod's real address and port",
		"enable-h2-upgrade": "HTTP/1 between two proxies is always carried as HTTP/2 and restored at the " +
			"far end",
		"proxy-metrics-hostname-labels": "metrics never carry the names that clients ask for, which anybody could multiply",
		"disable-tap":                   "use viz.linkerd.io/disable-tap",
		"admission-webhooks":            "it is a label of the namespace, not an annotation",
	}
}

// Meant returns the annotation that the author of name meant: name itself if it exists, otherwise the nearest one that
// does, "" if none is near. about reports whether name is about injection at all: below a configuration prefix, or
// linkerd.io/inject with a typo.
func Meant(name string) (right string, about bool) {
	key := configKey(name)
	switch {
	case !aboutInjection(name):
		return "", false
	case name == mesh.InjectAnnotation || meansInject(name):
		return mesh.InjectAnnotation, true
	}
	names, keys := map[string]string{}, []string(nil)
	for _, a := range annotations() {
		if slices.Contains(a.prefixes(), strings.TrimSuffix(name, key)) && key == a.key {
			return name, true
		}
		names[a.key] = a.name()
		keys = append(keys, a.key)
	}
	slices.Sort(keys)
	near, _ := spelling.Nearest(key, keys)
	return names[near], true
}

func aboutInjection(name string) bool {
	return name == mesh.InjectAnnotation || configKey(name) != "" || meansInject(name)
}

// configKey returns an annotation's name without its prefix, or "" when it is not one that configures a proxy.
func configKey(name string) string {
	for _, prefix := range append(slices.Clone(prefixes), mesh.OwnConfigPrefix) {
		if key, ok := strings.CutPrefix(name, prefix); ok {
			return key
		}
	}
	return ""
}

// meansInject reports whether an annotation is linkerd.io/inject with a typo, or under the prefix of the others.
func meansInject(name string) bool {
	if name == mesh.InjectAnnotation || len(name) > len(mesh.InjectAnnotation)+len("config.") {
		return false
	}
	return name == mesh.ConfigPrefix+"inject" || spelling.Distance(name, mesh.InjectAnnotation) <= 3
}

// Misspelled returns a warning for each annotation of a pod, or of its namespace, that is linkerd.io/inject with a
// typo. Such a pod gets no proxy, so that nothing else reads its annotations.
func Misspelled(namespace, pod map[string]string) (warnings []string) {
	for _, written := range []struct {
		annotations map[string]string
		where       place
	}{{namespace, onNamespace}, {pod, onPod}} {
		for _, name := range slices.Sorted(maps.Keys(written.annotations)) {
			if meansInject(name) && len(warnings) < maxUnknown {
				warnings = append(warnings, unknownText(name, mesh.InjectAnnotation, written.where))
			}
		}
	}
	return warnings
}

// CheckServiceKeys returns a warning for each annotation of a Service about injection or proxies that has no effect
// there. Only opaque-ports has one.
func CheckServiceKeys(annotations map[string]string) (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if !aboutInjection(name) || name == mesh.OpaquePortsAnnotation {
			continue
		}
		if len(warnings) == maxUnknown {
			return append(warnings, "more annotations of the Service below config.linkerd.io or config.tulle.dev have no effect")
		}
		right, _ := Meant(name)
		text := unknownText(name, right, "Service")
		if right == name || right == mesh.InjectAnnotation {
			text = fmt.Sprintf(
				"annotation %s has no effect on a Service; annotate the workload's pod template or the namespace with %s", name,
				right)
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// CheckWorkloadKeys returns a warning for each annotation about injection or proxies of a workload itself, where nobody
// reads it, unless the pod template has it too. at is where the template's metadata is.
func CheckWorkloadKeys(kind, at string, workload, template map[string]string) (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(workload)) {
		right, about := Meant(name)
		if there, ok := template[name]; !about || ok && there == workload[name] {
			continue
		}
		belongs := "it belongs"
		if right != name && right != "" {
			belongs = right + ", which is most likely meant, belongs"
		}
		warnings = append(warnings, fmt.Sprintf("annotation %s has no effect at the %s itself: %s at %s", name, kind, belongs,
			at))
	}
	return warnings
}
