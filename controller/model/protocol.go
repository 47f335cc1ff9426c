package model

import (
	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// podProtocol returns what a Server, else the pod's annotation, else its namespace's, else the default list says about
// a port of the pod.
func (r *resolver) podProtocol(p *compile.Pod, port uint16) mesh.Protocol {
	if protocol := r.store.serverProtocolAt(p, port); protocol != mesh.Detect {
		return compile.OpaqueIf(protocol == mesh.Opaque)
	}
	if p.Settings.Opaque != nil {
		return compile.OpaqueIf(p.Settings.Opaque.Contains(port))
	}
	return compile.OpaqueIf(r.snap.defaults(p.Namespace).opaqueOf(p.PortsNamed).Contains(port))
}

// podDecides reports whether podProtocol is what a Server or the pod itself says.
func (r *resolver) podDecides(p *compile.Pod, port uint16) bool {
	return p.Settings.Opaque != nil || r.store.serverProtocolAt(p, port) != mesh.Detect
}
