package learn

import (
	"fmt"
	"maps"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// Permission says what one client is to be allowed.
type Permission struct {
	Client mesh.ID
	// Target is the Server or the route that the client may use. If it is zero, there is no Server yet, and Allow makes
	// one for Port of Workload.
	Target   mesh.Ref
	Workload Workload
	Port     uint16
	// Opaque means that the port carries no HTTP.
	Opaque bool
	// Taken are the objects that exist. Allow chooses other names.
	Taken map[mesh.Ref]bool
}

// Allow returns the objects that allow it, and nothing else.
func Allow(p Permission) Policies {
	var out Policies
	namespace, target := p.Target.Namespace, p.Target
	free := names{taken: map[mesh.Ref]bool{}, made: map[mesh.Ref]bool{}}
	maps.Copy(free.taken, p.Taken)
	if target == (mesh.Ref{}) {
		namespace = p.Workload.Namespace
		target = policyRef("Server", namespace, free.pick(namespace, fmt.Sprintf("%s-%d", p.Workload.Name, p.Port), "Server"))
		out.Documents = append(out.Documents,
			Document{Tree: plainObject("Server", "v1beta3", namespace, target.Name, serverSpec(p.Workload, p.Port, p.Opaque))})
	}
	name := free.pick(namespace, target.Name+"-from-"+p.Client.ServiceAccount, "MeshTLSAuthentication",
		"AuthorizationPolicy")
	out.Documents = append(out.Documents,
		Document{Tree: plainObject("MeshTLSAuthentication", "v1alpha1", namespace, name,
			map[string]any{"identities": []any{p.Client.String()}})},
		Document{Tree: plainObject("AuthorizationPolicy", "v1alpha1", namespace, name,
			policySpec(target.Group, target.Kind, target.Name, name))})
	return out
}

// serverSpec returns the spec of a Server for a port of a workload.
func serverSpec(workload Workload, port uint16, opaque bool) map[string]any {
	spec := map[string]any{
		"podSelector": map[string]any{"matchLabels": selectorOf(workload)}, "port": int64(port),
		"accessPolicy": string(mesh.Deny),
	}
	if opaque {
		spec["proxyProtocol"] = v1alpha1.ProtocolOpaque
	}
	return spec
}

// policySpec returns the spec of an AuthorizationPolicy that requires a MeshTLSAuthentication.
func policySpec(group, kind, target, authentication string) map[string]any {
	return map[string]any{
		"targetRef": map[string]any{"group": group, "kind": kind, "name": target},
		"requiredAuthenticationRefs": []any{
			map[string]any{"group": v1alpha1.PolicyGroup, "kind": "MeshTLSAuthentication", "name": authentication}},
	}
}

// plainObject returns an object that learn does not make again.
func plainObject(kind, version, namespace, name string, spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": v1alpha1.PolicyGroup + "/" + version, "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	}
}
