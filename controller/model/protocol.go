package model

import "github.com/tulle-mesh/tulle/mesh"

// appProtocol says how a Service port with this appProtocol is read. A value that names nothing the proxy reads is opaque, as in
// Linkerd: the user told that it is something else. Values: the IANA names, Kubernetes' own (KEP-3726), and Linkerd's.
func appProtocol(s string) mesh.Protocol {
	switch s {
	case "http", "kubernetes.io/ws", "ws":
		return mesh.HTTP1
	case "kubernetes.io/h2c", "h2c", "http2", "grpc":
		return mesh.HTTP2
	default: // linkerd.io/tcp, linkerd.io/opaque, tcp, tls, https, kubernetes.io/wss, redis, …
		return mesh.Opaque
	}
}

// declared returns what a Service itself says about its port: appProtocol first, then the Service's opaque-ports annotation, which
// decides for every port of the Service once it is there.
func (svc *service) declaredProtocol(p servicePort) (protocol mesh.Protocol, ok bool) {
	if p.declared {
		return p.app, true
	}
	if svc.settings.opaque != nil {
		return opaqueIf(svc.settings.opaque.Contains(p.port)), true
	}
	return mesh.Detect, false
}

// podProtocol returns what a Server, else the pod's annotation, else its namespace's, else the default list says about a port of the
// pod.
func (r *resolver) podProtocol(p *pod, port uint16) mesh.Protocol {
	if protocol := r.store.serverProtocolAt(p, port); protocol != mesh.Detect {
		return opaqueIf(protocol == mesh.Opaque)
	}
	if p.settings.opaque != nil {
		return opaqueIf(p.settings.opaque.Contains(port))
	}
	return opaqueIf(r.snap.defaults(p.Namespace).opaqueOf(p.portsNamed).Contains(port))
}

// podDecides reports whether podProtocol is what a Server or the pod itself says.
func (r *resolver) podDecides(p *pod, port uint16) bool {
	return p.settings.opaque != nil || r.store.serverProtocolAt(p, port) != mesh.Detect
}

func opaqueIf(opaque bool) mesh.Protocol {
	if opaque {
		return mesh.Opaque
	}
	return mesh.Detect
}
