package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/mesh"
)

// Namespace is what a decision needs to know of a pod's namespace.
type Namespace struct {
	Name        string
	Labels      map[string]string
	Annotations map[string]string
}

// APIServices are the aggregated APIs of a cluster.
var APIServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// OffersTap reports whether the APIService of tap, mesh.TapAPIService, is served in the namespace: then the
// installation of the viz extension turned tap on there. nil is an APIService that does not exist.
func OffersTap(apiService *unstructured.Unstructured, namespace string) bool {
	if apiService == nil || apiService.GetName() != mesh.TapAPIService || apiService.GetDeletionTimestamp() != nil {
		return false
	}
	served, _, err := unstructured.NestedString(apiService.Object, "spec", "service", "namespace")
	return err == nil && served != "" && served == namespace
}

// Action is what happens to a pod.
type Action uint8

// The actions. Skip leaves the pod as it is; Deny refuses it.
const (
	Skip Action = iota
	Inject
	Deny
)

// Decision is the action for a pod with its reason.
type Decision struct {
	Action Action
	// Reason is why a pod is skipped or denied; "" when it is injected.
	Reason Reason
	// Ingress is set when the annotation says ingress instead of enabled. Apply warns that this changes nothing.
	Ingress bool
	// At says which inject annotation decided: AtWorkload, AtNamespace or "" for none.
	At string
	// Value is that annotation's value if it has no meaning, otherwise "".
	Value string
}

// Values of Decision.At, as in metrics.
const (
	AtWorkload  = "workload"
	AtNamespace = "namespace"
)

// Asked reports whether an annotation asked for injection, or was meant to: then a skip deserves an event.
func (d Decision) Asked() bool {
	return d.Reason != NotAnnotated && d.Reason != OptedOut
}

// Reason is a skip reason, spelled as in Linkerd's metrics and events.
type Reason string

// The reasons why a pod gets no proxy.
const (
	HostNetwork     Reason = "host_network_enabled"
	SidecarExists   Reason = "sidecar_already_exists"
	Unsupported     Reason = "unsupported_resource"
	NotAnnotated    Reason = "injection_enable_annotation_absent"
	OptedOut        Reason = "injection_disable_annotation_present"
	InvalidAtPod    Reason = "invalid_inject_annotation_at_workload"
	InvalidAtNS     Reason = "invalid_inject_annotation_at_ns"
	BypassesCapture Reason = "capture_bypassed"
)

// Text returns the reason of a skip or a denial as a sentence.
func (d Decision) Text() string {
	switch d.Reason {
	case HostNetwork:
		return "the pod uses the host's network, where traffic cannot be captured"
	case SidecarExists:
		return "the pod has a proxy already"
	case Unsupported:
		return "this kind of object or operating system is not supported"
	case NotAnnotated:
		return "neither the pod nor its namespace has the annotation " + mesh.InjectAnnotation + ": enabled"
	case OptedOut:
		return "the annotation " + mesh.InjectAnnotation + ": disabled is set"
	case InvalidAtPod:
		return fmt.Sprintf("annotation %s of the pod has the value %.63q: want enabled, ingress or disabled",
			mesh.InjectAnnotation, d.Value)
	case InvalidAtNS:
		return fmt.Sprintf("annotation %s of the namespace has the value %.63q: want enabled, ingress or disabled",
			mesh.InjectAnnotation, d.Value)
	case BypassesCapture:
		return "the pod takes ports or networks out of the mesh"
	default:
		return string(d.Reason)
	}
}

// Decide returns whether a pod of the namespace is injected. The pod's annotation overrides the namespace's. In a
// namespace whose EnforceLabel is EnforceRequired, every pod is injected, or denied if it would bypass the proxy.
func Decide(ns Namespace, pod *corev1.Pod) Decision {
	required := ns.Labels[mesh.EnforceLabel] == mesh.EnforceRequired
	d := annotated(ns, pod)
	if required && d.Action == Skip && d.Reason == NotAnnotated {
		d = Decision{Action: Inject, At: AtNamespace}
	}
	if d.Action == Inject {
		switch {
		case pod.Spec.HostNetwork:
			d = Decision{Reason: HostNetwork, At: d.At}
		case hasSidecar(&pod.Spec):
			d = Decision{Reason: SidecarExists, At: d.At}
		case onWindows(&pod.Spec):
			d = Decision{Reason: Unsupported, At: d.At}
		case required && bypasses(pod.Annotations):
			d = Decision{Reason: BypassesCapture, At: AtWorkload}
		}
	}
	if required && d.Action == Skip {
		d.Action = Deny
	}
	return d
}

func annotated(ns Namespace, pod *corev1.Pod) Decision {
	d := Decision{Reason: NotAnnotated}
	value, invalid := "", InvalidAtPod
	if v, ok := pod.Annotations[mesh.InjectAnnotation]; ok {
		value, d.At = v, AtWorkload
	} else if v, ok := ns.Annotations[mesh.InjectAnnotation]; ok {
		value, invalid, d.At = v, InvalidAtNS, AtNamespace
	} else {
		return d
	}
	switch value {
	case "enabled":
		return Decision{Action: Inject, At: d.At}
	case "ingress":
		return Decision{Action: Inject, Ingress: true, At: d.At}
	case "disabled":
		d.Reason = OptedOut
	default:
		d.Reason, d.Value = invalid, value
	}
	return d
}

// hasSidecar recognises the containers of this mesh and of others: two proxies that both capture a pod's traffic break
// it.
func hasSidecar(spec *corev1.PodSpec) bool {
	names := []string{
		mesh.ProxyContainer, mesh.InitContainer,
		"linkerd-proxy", "linkerd-init", "linkerd-network-validator", "istio-proxy", "istio-init",
	}
	images := []string{"cr.l5d.io/linkerd/proxy:", "ghcr.io/linkerd/proxy:", "docker.io/istio/proxyv2:",
		"gcr.io/istio-release/proxyv2:"}
	return slices.ContainsFunc(slices.Concat(spec.InitContainers, spec.Containers), func(c corev1.Container) bool {
		return slices.Contains(names, c.Name) ||
			slices.ContainsFunc(images, func(prefix string) bool { return strings.HasPrefix(c.Image, prefix) })
	})
}

func onWindows(spec *corev1.PodSpec) bool {
	return spec.OS != nil && spec.OS.Name == corev1.Windows ||
		spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// bypasses reports whether the pod's annotations let traffic bypass the proxy.
func bypasses(pod map[string]string) bool {
	for _, key := range []string{"skip-inbound-ports", "skip-outbound-ports", "skip-subnets"} {
		for _, prefix := range prefixes {
			if strings.TrimSpace(pod[prefix+key]) != "" {
				return true
			}
		}
	}
	return false
}
