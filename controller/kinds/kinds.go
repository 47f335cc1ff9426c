// Package kinds lists the Kubernetes kinds that the mesh reads as objects: those that configure it, and those of the
// cluster that `tulle analyze` examines too.
//
// It owns their groups, names, resources, versions and Go types. It must not import a client. The one idea: one table,
// so that what the controller watches, what the CLI lists and what it decodes are the same.
package kinds

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// Kind is one kind of object.
type Kind struct {
	Group, Name, Plural string
	// Versions that can be read, best first: an API server that serves several gives each object in any of them.
	Versions []string
	// New returns an empty object as controller/model wants it; it is nil for kinds that the model does not read.
	New func() metav1.Object
}

// Definition returns the name of the kind's CustomResourceDefinition.
func (k Kind) Definition() string { return k.Plural + "." + k.Group }

// Resource returns the kind's resource in a version.
func (k Kind) Resource(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: version, Resource: k.Plural}
}

// GroupKind returns the kind's group and name.
func (k Kind) GroupKind() schema.GroupKind { return schema.GroupKind{Group: k.Group, Kind: k.Name} }

// Configuration returns every kind that configures the mesh. A cluster may lack each of them.
func Configuration() []Kind {
	gateway := func(name, plural string, empty func() metav1.Object, versions ...string) Kind {
		return Kind{gatewayv1.GroupName, name, plural, versions, empty}
	}
	out := []Kind{
		gateway("HTTPRoute", "httproutes", empty[gatewayv1.HTTPRoute], "v1", "v1beta1"),
		gateway("GRPCRoute", "grpcroutes", empty[gatewayv1.GRPCRoute], "v1", "v1alpha2"),
		gateway("TLSRoute", "tlsroutes", empty[gatewayv1.TLSRoute], "v1", "v1alpha3", "v1alpha2"),
		gateway("TCPRoute", "tcproutes", empty[gatewayv1.TCPRoute], "v1", "v1alpha2"),
		gateway("ReferenceGrant", "referencegrants", empty[gatewayv1.ReferenceGrant], "v1", "v1beta1", "v1alpha2"),
	}
	types := map[string]func() metav1.Object{
		"ServiceProfile":           empty[v1alpha1.ServiceProfile],
		"Server":                   empty[v1alpha1.Server],
		"ServerAuthorization":      empty[v1alpha1.ServerAuthorization],
		"AuthorizationPolicy":      empty[v1alpha1.AuthorizationPolicy],
		"MeshTLSAuthentication":    empty[v1alpha1.MeshTLSAuthentication],
		"NetworkAuthentication":    empty[v1alpha1.NetworkAuthentication],
		"HTTPLocalRateLimitPolicy": empty[v1alpha1.HTTPLocalRateLimitPolicy],
		"HTTPRoute":                empty[v1alpha1.HTTPRoute],
	}
	for _, k := range v1alpha1.Kinds() {
		versions := slices.Clone(k.Versions)
		slices.Reverse(versions)
		out = append(out, Kind{k.Group, k.Name, k.Plural, versions, types[k.Name]})
	}
	return out
}

// Core returns the kinds of Kubernetes whose objects say how the mesh treats them.
func Core() []Kind {
	return []Kind{
		{"", "Namespace", "namespaces", []string{"v1"}, empty[corev1.Namespace]},
		{"", "Service", "services", []string{"v1"}, empty[corev1.Service]},
		{"", "Pod", "pods", []string{"v1"}, empty[corev1.Pod]},
	}
}

// Workloads returns the kinds that make pods of a template. The model does not read them: it reads the pods.
func Workloads() []Kind {
	return []Kind{
		{"apps", "Deployment", "deployments", []string{"v1"}, nil},
		{"apps", "StatefulSet", "statefulsets", []string{"v1"}, nil},
		{"apps", "DaemonSet", "daemonsets", []string{"v1"}, nil},
		{"apps", "ReplicaSet", "replicasets", []string{"v1"}, nil},
		{"", "ReplicationController", "replicationcontrollers", []string{"v1"}, nil},
		{"batch", "Job", "jobs", []string{"v1"}, nil},
		{"batch", "CronJob", "cronjobs", []string{"v1"}, nil},
	}
}

// Find returns the kind of that group and name in a list.
func Find(list []Kind, group, name string) (Kind, bool) {
	i := slices.IndexFunc(list, func(k Kind) bool { return k.Group == group && k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return list[i], true
}

func empty[T any, O interface {
	*T
	metav1.Object
}]() metav1.Object {
	return O(new(T))
}
