package kube

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// kind is a kind of object that the mesh is configured with. A cluster may lack it.
type kind struct {
	group, name, plural string
	// versions that can be read, best first: an API server that serves several gives each object in any of them.
	versions []string
	// object returns an empty object as the model wants it, and what its JSON is read into.
	object func() (o metav1.Object, into any)
}

// definition returns the name of the kind's CustomResourceDefinition.
func (k kind) definition() string { return k.plural + "." + k.group }

func (k kind) resource(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.plural}
}

func (k kind) groupKind() schema.GroupKind { return schema.GroupKind{Group: k.group, Kind: k.name} }

// plain is for kinds whose Go type is what the model wants.
func plain[T any, O interface {
	*T
	metav1.Object
}]() (metav1.Object, any) {
	o := O(new(T))
	return o, o
}

// kinds returns every kind of configuration.
func kinds() []kind {
	gateway := func(name, plural string, object func() (metav1.Object, any), versions ...string) kind {
		return kind{gatewayv1.GroupName, name, plural, versions, object}
	}
	out := []kind{
		gateway("HTTPRoute", "httproutes", plain[gatewayv1.HTTPRoute], "v1", "v1beta1"),
		gateway("GRPCRoute", "grpcroutes", plain[gatewayv1.GRPCRoute], "v1", "v1alpha2"),
		gateway("TLSRoute", "tlsroutes", plain[gatewayv1.TLSRoute], "v1", "v1alpha3", "v1alpha2"),
		gateway("TCPRoute", "tcproutes", plain[gatewayv1.TCPRoute], "v1", "v1alpha2"),
		gateway("ReferenceGrant", "referencegrants", plain[gatewayv1.ReferenceGrant], "v1", "v1beta1", "v1alpha2"),
	}
	objects := map[string]func() (metav1.Object, any){
		"ServiceProfile":           plain[v1alpha1.ServiceProfile],
		"Server":                   plain[v1alpha1.Server],
		"ServerAuthorization":      plain[v1alpha1.ServerAuthorization],
		"AuthorizationPolicy":      plain[v1alpha1.AuthorizationPolicy],
		"MeshTLSAuthentication":    plain[v1alpha1.MeshTLSAuthentication],
		"NetworkAuthentication":    plain[v1alpha1.NetworkAuthentication],
		"HTTPLocalRateLimitPolicy": plain[v1alpha1.HTTPLocalRateLimitPolicy],
		"HTTPRoute":                plain[v1alpha1.HTTPRoute],
	}
	for _, k := range v1alpha1.Kinds() {
		versions := slices.Clone(k.Versions)
		slices.Reverse(versions)
		out = append(out, kind{k.Group, k.Name, k.Plural, versions, objects[k.Name]})
	}
	return out
}
