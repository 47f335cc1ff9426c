package model

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// inbound answers a pod's proxy about the pod itself; nil if the pod is not known. What the pod says wins over its
// namespace, which wins over the installation.
func (r *resolver) inbound() *mesh.Inbound {
	p := r.store.pods[types.NamespacedName{Namespace: r.q.Pod.Namespace, Name: r.q.Pod.Name}]
	if p == nil {
		return nil
	}
	d := r.snap.defaults(p.Namespace)
	in := &mesh.Inbound{
		ClusterNetworks:      r.store.config.ClusterNetworks,
		Default:              mesh.PortPolicy{Policy: d.policy},
		OpaquePorts:          d.opaqueOf(p.PortsNamed),
		RequireIdentityPorts: d.requireIdentity,
		DeclaredPorts:        p.Declared,
		Revoked:              r.snap.revoked,
	}
	if p.Settings.Policy != "" {
		in.Default.Policy = p.Settings.Policy
	}
	if p.Settings.Opaque != nil {
		in.OpaquePorts = *p.Settings.Opaque
	}
	if p.Settings.RequireIdentity != nil {
		in.RequireIdentityPorts = *p.Settings.RequireIdentity
	}
	servers := r.store.access.serversOf[p.NamespacedName]
	if len(p.Probes)+len(servers) > 0 {
		in.Ports = make(map[uint16]mesh.PortPolicy, len(p.Probes)+len(servers))
	}
	for port, paths := range p.Probes {
		policy := in.Default
		policy.ProbePaths = paths
		in.Ports[port] = policy
	}
	r.applyServers(p, in)
	return in
}

// applyServers puts what Servers say over the defaults of their ports. A Server that says how the bytes are read is
// asked before the annotations of the pod and its namespace.
func (r *resolver) applyServers(p *compile.Pod, in *mesh.Inbound) {
	taken := map[uint16]bool{}
	for _, sv := range r.store.access.serversOf[p.NamespacedName] {
		for _, port := range sv.portsOf(p) {
			if taken[port] {
				continue
			}
			taken[port] = true
			policy := *r.store.serverPolicy(sv)
			policy.ProbePaths = p.Probes[port]
			in.Ports[port] = policy
			if policy.Protocol != mesh.Detect {
				in.OpaquePorts = in.OpaquePorts.Without(port)
			}
		}
	}
}
