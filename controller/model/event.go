package model

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// Event is one change of one object.
type Event struct {
	// Object is what the object is now, or last was if Deleted. It must not change afterwards. It is one of
	//
	//   - core/v1 *Service, *Pod, *Namespace, *Node; discovery/v1 *EndpointSlice
	//   - gateway.networking.k8s.io, whatever version is served, as the types of sigs.k8s.io/gateway-api/apis/v1: *HTTPRoute,
	//     *GRPCRoute, *TLSRoute, *TCPRoute, *ReferenceGrant
	//   - of policy.linkerd.io and linkerd.io, whatever version is served, as the types of crds/v1alpha1: *HTTPRoute, *ServiceProfile,
	//     *Server, *ServerAuthorization, *AuthorizationPolicy, *MeshTLSAuthentication, *NetworkAuthentication, *HTTPLocalRateLimitPolicy
	//
	// Of metadata, namespace, name, UID, generation, creationTimestamp, labels and annotations are read.
	Object metav1.Object
	// Unknown holds the JSON paths of what the object says and its type has no field for, such as
	// "spec.rules[0].color". The rest of the object is used; its status tells what is not.
	Unknown []string
	// At is when the loop took the event. Annotations that may only reach so far into the future are compared with it;
	// zero leaves that out.
	At time.Time
	// Deleted says that the object is gone.
	Deleted bool
	// Synced says that every object that existed at the start has been seen. Object is nil then.
	Synced bool
}

// Change says what an event may have changed.
type Change struct {
	// Snapshot asks for a new Snapshot, and for new answers to every query.
	Snapshot bool
	// Addrs are the outbound addresses, on any port, whose answers may differ now.
	Addrs []netip.Addr
	// Pods are the pods whose inbound answers may differ now.
	Pods []types.NamespacedName
	// Problems that the object has now and did not have before.
	Problems []Problem
}

// Problem is a finding that is reported at once, and the object that has it.
type Problem struct {
	Object ObjectRef
	compile.Finding
}

func (c *Change) report(o ObjectRef, found compile.Findings) {
	for _, f := range found {
		c.Problems = append(c.Problems, Problem{o, f})
	}
}

// ObjectRef names an object for people. Group is empty for the core group.
type ObjectRef struct {
	Group, Kind, Namespace, Name string
	UID                          types.UID
}

func refOf(kind string, o metav1.Object) ObjectRef {
	return ObjectRef{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
}

// Apply records the event and returns what it may have changed. An object of a kind it does not know changes nothing.
func (s *Store) Apply(e Event) Change {
	switch o := e.Object.(type) {
	case *corev1.Service:
		return s.applyService(o, e)
	case *discoveryv1.EndpointSlice:
		return s.applySlice(o, e.Deleted)
	case *corev1.Pod:
		return s.applyPod(o, e.Deleted)
	case *corev1.Namespace:
		return s.applyNamespace(o, e.Deleted)
	case *corev1.Node:
		return s.applyNode(o, e.Deleted)
	case *v1alpha1.Server:
		return s.applyServer(o, e)
	case *v1alpha1.AuthorizationPolicy:
		return s.applyAuthorizationPolicy(o, e)
	case *v1alpha1.ServerAuthorization:
		return s.applyServerAuthorization(o, e)
	case *v1alpha1.MeshTLSAuthentication:
		return s.applyMeshTLS(o, e)
	case *v1alpha1.NetworkAuthentication:
		return s.applyNetworkAuthentication(o, e)
	case *v1alpha1.HTTPLocalRateLimitPolicy:
		return s.applyRateLimit(o, e)
	case *gatewayv1.HTTPRoute:
		return s.applyHTTPRoute(compile.KindHTTPRoute, o, &o.Spec, e)
	case *v1alpha1.HTTPRoute:
		return s.applyHTTPRoute(compile.KindPolicyHTTPRoute, o, &o.Spec, e)
	case *gatewayv1.GRPCRoute:
		return s.applyGRPCRoute(o, e)
	case *gatewayv1.TLSRoute:
		return s.applyTLSRoute(o, e)
	case *gatewayv1.TCPRoute:
		return s.applyTCPRoute(o, e)
	case *gatewayv1.ReferenceGrant:
		return s.applyGrant(o, e.Deleted)
	case *v1alpha1.ServiceProfile:
		return s.applyProfile(o, e)
	}
	return Change{}
}

// newFindings returns the findings that were not there before. The message says what applies instead, so a value that
// stays wrong is reported once.
func newFindings(before, now compile.Findings) compile.Findings {
	var out compile.Findings
	for _, f := range now {
		if !slices.Contains(before, f) {
			out = append(out, f)
		}
	}
	return out
}
