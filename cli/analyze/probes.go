package analyze

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/kubelet"
	"github.com/tulle-mesh/tulle/mesh"
)

// ProbeRefused is the code of findings about pods whose kubelet is kept out.
const ProbeRefused = "ProbeRefused"

// checkProbes finds requests of the kubelet that the mesh refuses, so that the pod never is ready or is restarted for
// ever: those over HTTPS, which a proxy cannot tell from other connections, and those that a route redirects.
func checkProbes(w *World) {
	for _, o := range w.objects {
		if o.kind != "Pod" && !o.workload || w.maker(o) != nil {
			continue
		}
		pod := podSpecOf(o)
		if !w.getsProxy(o, pod) {
			continue
		}
		for _, r := range kubelet.Requests(&pod, mesh.ProxyContainer) {
			server := w.serverOf(o, pod, r.Port)
			switch {
			case !r.TLS && server != nil:
				w.checkRedirect(o, server, r)
			case r.TLS:
				if why := w.refusesTLS(o, pod, server, r); why != "" {
					w.report(Error, ProbeRefused, o,
						"container %s: %s asks port %d over HTTPS, and %s use HTTP, gRPC, tcpSocket or exec "+
							"(docs/authorization.md#https-probes)", r.Container, r.Kind, r.Port, why)
				}
			}
		}
	}
}

// getsProxy reports whether a pod has a proxy, or the pods of a workload get one.
func (w *World) getsProxy(o *object, pod corev1.PodSpec) bool {
	if o.kind == "Pod" || hasProxy(pod) {
		return hasProxy(pod)
	}
	ns := inject.Namespace{Name: o.namespace}
	if known := w.byName[name{"Namespace", "", o.namespace}]; known != nil {
		ns.Annotations, ns.Labels = known.annotations, known.labels
	}
	return inject.Decide(ns, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: templateOf(o).annotations},
		Spec: pod}).Action == inject.Inject
}

// labelsOf and annotationsOf return those of a pod, or of the pods of a workload.
func labelsOf(o *object) map[string]string {
	if o.workload {
		return templateOf(o).labels
	}
	return o.labels
}

func annotationsOf(o *object) map[string]string {
	if o.workload {
		return templateOf(o).annotations
	}
	return o.annotations
}

// serverOf returns the Server that counts on a port of a pod; nil without one.
func (w *World) serverOf(o *object, pod corev1.PodSpec, port uint16) *object {
	for _, server := range w.sorted("Server") {
		s := spec[v1alpha1.ServerSpec](server)
		if server.namespace == o.namespace && selects(s.PodSelector, labelsOf(o)) &&
			numberOf(pod, s.Port) == strconv.Itoa(int(port)) {
			return server
		}
	}
	return nil
}

// letNodeIn is what helps where the policy of clients without identity is all that refuses the kubelet.
const letNodeIn = ": authorize the node's network, or"

// refusesTLS says why a connection of the node that carries TLS of the application's own is refused, and whether an
// authorization helps; "" if it is not refused, as far as can be known.
func (w *World) refusesTLS(o *object, pod corev1.PodSpec, server *object, r kubelet.Request) string {
	settings := w.settingsOf(o, pod)
	skipped, _ := mesh.ParsePortSet(settings.ProxyInit.IgnoreInboundPorts, nil)
	identified, _ := mesh.ParsePortSet(settings.Proxy.RequireIdentityOnInboundPorts, nil)
	switch {
	case skipped.Contains(r.Port):
		return ""
	case identified.Contains(r.Port):
		return "the port requires an identity:"
	case server == nil && inject.NeedsIdentity(settings.Proxy.DefaultInboundPolicy):
		return "inbound policy " + string(settings.Proxy.DefaultInboundPolicy) + " refuses clients without identity" +
			letNodeIn
	case server == nil:
		return ""
	}
	s := spec[v1alpha1.ServerSpec](server)
	switch {
	case w.httpOnly(server, s):
		return "Server " + server.name.name +
			" takes HTTP alone: it declares it, or has routes or a rate limit, and resets it whatever authorizations say:"
	case inject.NeedsIdentity(mesh.AccessPolicy(cmp.Or(s.AccessPolicy, string(mesh.Deny)))) && !w.admitsStrangers(server):
		return "Server " + server.name.name + " refuses clients without identity" + letNodeIn
	}
	return ""
}

// settingsOf returns the settings of a pod's proxy. What the installation says is known of a proxy that is there.
func (w *World) settingsOf(o *object, pod corev1.PodSpec) inject.Settings {
	defaults := inject.Defaults()
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, env := range c.Env {
			if c.Name == mesh.ProxyContainer && env.Name == mesh.ProxyConfigEnv {
				if config, err := mesh.ParseProxyConfig([]byte(env.Value)); err == nil && config.DefaultInboundPolicy != "" {
					defaults.Proxy.DefaultInboundPolicy = config.DefaultInboundPolicy
				}
			}
		}
	}
	var namespace map[string]string
	if ns := w.byName[name{"Namespace", "", o.namespace}]; ns != nil {
		namespace = ns.annotations
	}
	settings, err := inject.ParseSettings(defaults, namespace, annotationsOf(o))
	if err != nil { // another check says so
		return inject.Settings{Values: defaults}
	}
	return settings
}

// httpOnly reports whether a Server refuses what is not HTTP.
func (w *World) httpOnly(server *object, s v1alpha1.ServerSpec) bool {
	return slices.Contains([]string{"HTTP/1", "HTTP/2", "gRPC"}, s.ProxyProtocol) || len(w.routesOf(server)) > 0 ||
		slices.ContainsFunc(w.objects, func(o *object) bool {
			return o.kind == "HTTPLocalRateLimitPolicy" && o.namespace == server.namespace &&
				spec[v1alpha1.HTTPLocalRateLimitPolicySpec](o).TargetRef.Name == server.name.name
		})
}

// routesOf returns the HTTPRoutes and GRPCRoutes of a Server.
func (w *World) routesOf(server *object) (out []*object) {
	w.eachRoute(func(o *object, r routeSpec) {
		if (o.kind == "HTTPRoute" || o.kind == "GRPCRoute") && r.attachedTo(server, o.namespace) {
			out = append(out, o)
		}
	})
	return out
}

func (r routeSpec) attachedTo(server *object, namespace string) bool {
	return slices.ContainsFunc(r.ParentRefs, func(p reference) bool {
		return p.Kind == "Server" && p.Name == server.name.name && p.in(namespace) == server.namespace
	})
}

// admitsStrangers reports whether any authorization of a Server lets in clients without identity, from some network.
func (w *World) admitsStrangers(server *object) bool {
	return slices.ContainsFunc(w.objects, func(o *object) bool {
		switch {
		case o.namespace != server.namespace:
			return false
		case o.kind == "ServerAuthorization":
			s := spec[v1alpha1.ServerAuthorizationSpec](o)
			return s.Client.Unauthenticated && (s.Server.Name == server.name.name || selects(s.Server.Selector, server.labels))
		case o.kind == "AuthorizationPolicy" && o.group == v1alpha1.PolicyGroup:
			s := spec[v1alpha1.AuthorizationPolicySpec](o)
			t := s.TargetRef
			if !(t.Kind == "Namespace" && t.Name == server.namespace || t.Kind == "Server" && t.Name == server.name.name) {
				return false
			}
			for _, ref := range s.RequiredAuthenticationRefs {
				if ref.Kind != "NetworkAuthentication" {
					return false
				}
			}
			return true
		}
		return false
	})
}

// checkRedirect finds a route that redirects a request of the kubelet. The kubelet follows a redirect within the pod,
// and what it asks for then is no probe. Redirects of the application itself are in no manifest.
func (w *World) checkRedirect(o, server *object, r kubelet.Request) {
	path, _, _ := strings.Cut(r.Target, "?")
	for _, route := range w.guardRoutes(server) {
		rules := spec[routeSpec](route.object).Rules
		for _, p := range route.paths {
			redirects := slices.ContainsFunc(rules[p.rule].Filters, func(f filter) bool { return f.Type == "RequestRedirect" })
			if redirects && p.matches(path) {
				w.report(Warning, "ProbeRedirected", o, "container %s: %s asks port %d for %s, which HTTPRoute %s redirects: "+
					"the kubelet follows the redirect within the pod, and policy does not treat that request as a probe; "+
					"probe the final path, or authorize the node's network on a route that matches it", r.Container, r.Kind, r.Port,
					r.Target, route.name.name)
				return
			}
		}
	}
}
