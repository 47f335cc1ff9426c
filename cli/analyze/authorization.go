package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// checkServers looks for Servers that select nothing, or that they lock for everybody.
func checkServers(w *World) {
	for _, o := range w.sorted("Server") {
		s := spec[v1alpha1.ServerSpec](o)
		pods := w.selected(o.namespace, s.PodSelector)
		if len(pods) == 0 && s.PodSelector != nil && !w.Partial && w.has("Pod") && !w.promised(o.namespace, s.PodSelector) {
			w.report(Warning, "ServerSelectsNothing", o, "no pod of namespace %s has the labels %s", o.namespace,
				metav1.FormatLabelSelector(s.PodSelector))
		}
		denies := mesh.AccessPolicy(cmp.Or(s.AccessPolicy, string(mesh.Deny))) == mesh.Deny
		if len(pods) > 0 && denies && !w.Partial && !w.authorized(o) && !slices.Contains(w.superseded, o) {
			w.report(Warning, "NobodyAllowed", o,
				"no authorization is for this Server or a route of it: port %s is closed to everybody", s.Port.String())
		}
	}
}

// numberOf returns the number of a port of a pod, or a name that none of its ports has.
func numberOf(s corev1.PodSpec, port intstr.IntOrString) string {
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		for _, p := range c.Ports {
			if port.Type == intstr.String && p.Name == port.StrVal {
				return fmt.Sprint(p.ContainerPort)
			}
		}
	}
	return port.String()
}

// authorized reports whether anything is there to let somebody in at a Server, or at one of its routes.
func (w *World) authorized(server *object) bool {
	routes := map[name]bool{}
	w.eachRoute(func(o *object, r routeSpec) {
		routes[o.name] = slices.ContainsFunc(r.ParentRefs, func(p reference) bool {
			return p.Kind == "Server" && p.Name == server.name.name && p.in(o.namespace) == server.namespace
		})
	})
	return slices.ContainsFunc(w.objects, func(o *object) bool {
		switch {
		case o.namespace != server.namespace:
			return false
		case o.kind == "ServerAuthorization":
			s := spec[v1alpha1.ServerAuthorizationSpec](o).Server
			selector, err := metav1.LabelSelectorAsSelector(s.Selector)
			return s.Name == server.name.name || err == nil && selector.Matches(labels.Set(server.labels))
		case o.kind == "AuthorizationPolicy" && o.group == v1alpha1.PolicyGroup:
			t := spec[v1alpha1.AuthorizationPolicySpec](o).TargetRef
			return t.Kind == "Namespace" && t.Name == server.namespace || t.Kind == "Server" && t.Name == server.name.name ||
				routes[name{t.Kind, server.namespace, t.Name}]
		}
		return false
	})
}

// sorted returns the objects of a kind, the oldest first, equals by name.
func (w *World) sorted(kind string) []*object {
	var out []*object
	w.each(kind, func(o *object) { out = append(out, o) })
	slices.SortStableFunc(out, func(a, b *object) int {
		return strings.Compare(a.created+"\x00"+a.name.name, b.created+"\x00"+b.name.name)
	})
	return out
}

func (w *World) has(kind string) bool {
	return slices.ContainsFunc(w.objects, func(o *object) bool { return o.kind == kind })
}

// selected returns the pods of a namespace that a selector means; a selector that is none means nothing.
func (w *World) selected(namespace string, s *metav1.LabelSelector) []*object {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || s == nil {
		return nil
	}
	var out []*object
	w.each("Pod", func(o *object) {
		if o.namespace == namespace && selector.Matches(labels.Set(o.labels)) {
			out = append(out, o)
		}
	})
	return out
}

// checkPermissive names what lets in more clients than one would think.
func checkPermissive(w *World) {
	w.each("ServerAuthorization", func(o *object) {
		if spec[v1alpha1.ServerAuthorizationSpec](o).Client.Unauthenticated {
			w.report(Warning, "Permissive", o, "client.unauthenticated lets in every client, without mutual TLS too")
		}
	})
	w.each("AuthorizationPolicy", func(o *object) {
		if refs := spec[v1alpha1.AuthorizationPolicySpec](o).RequiredAuthenticationRefs; o.group == v1alpha1.PolicyGroup &&
			len(refs) == 0 {
			w.report(Warning, "Permissive", o,
				"requiredAuthenticationRefs is empty: it lets in every client, without mutual TLS too")
		}
	})
	w.each("Server", func(o *object) {
		if p := mesh.AccessPolicy(spec[v1alpha1.ServerSpec](o).AccessPolicy); p == mesh.AllUnauthenticated ||
			p == mesh.Audit {
			w.report(Warning, "Permissive", o,
				"accessPolicy %s lets in every client, without mutual TLS too: authorizations change nothing", p)
		}
	})
	w.each("MeshTLSAuthentication", func(o *object) {
		if slices.Contains(spec[v1alpha1.MeshTLSAuthenticationSpec](o).Identities, "*") {
			w.report(Info, "Permissive", o, `identity "*" is every meshed client of every namespace`)
		}
	})
}

// checkCallers finds pods without a proxy beside ports that want mutual TLS.
func checkCallers(w *World) {
	unmeshed := map[string][]string{}
	w.each("Pod", func(o *object) {
		if !injected(o) && o.namespace != "kube-system" {
			unmeshed[o.namespace] = append(unmeshed[o.namespace], o.name.name)
		}
	})
	authenticated := func(p string) bool {
		return mesh.AccessPolicy(p) == mesh.AllAuthenticated || mesh.AccessPolicy(p) == mesh.ClusterAuthenticated
	}
	w.each("Server", func(o *object) {
		if authenticated(spec[v1alpha1.ServerSpec](o).AccessPolicy) {
			w.reportCallers(o, unmeshed[o.namespace])
		}
	})
	w.each("Namespace", func(o *object) {
		if authenticated(o.annotations[mesh.DefaultInboundPolicyAnnotation]) {
			w.reportCallers(o, unmeshed[o.name.name])
		}
	})
}

func (w *World) reportCallers(o *object, pods []string) {
	if len(pods) == 0 {
		return
	}
	slices.Sort(pods)
	more := ""
	if len(pods) > 3 {
		more = fmt.Sprintf(" and %d more", len(pods)-3)
		pods = pods[:3]
	}
	w.report(Warning, "UnmeshedCaller", o,
		"only clients with mutual TLS are let in, and these pods beside it have no proxy: %s%s", strings.Join(pods,
			", "), more)
}

// injected reports whether a pod has the proxy, as native sidecar or as container.
func injected(o *object) bool { return hasProxy(spec[corev1.PodSpec](o)) }

func hasProxy(s corev1.PodSpec) bool {
	return slices.ContainsFunc(slices.Concat(s.InitContainers, s.Containers),
		func(c corev1.Container) bool { return c.Name == mesh.ProxyContainer })
}

// selects reports whether a selector means objects with these labels; one that is none means nothing.
func selects(s *metav1.LabelSelector, of map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && s != nil && selector.Matches(labels.Set(of))
}
