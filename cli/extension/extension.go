// Package extension knows what an extension of the mesh leaves in a cluster.
//
// It owns which kinds of objects an extension has, and how they are found: by its label. It reads a cluster and changes
// nothing. The one idea: what an extension consists of is what its manifests say, so what is missing and what is left
// over are differences of two lists.
package extension

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// Label on a namespace names the extension that it is for; on other objects, the one that they belong to.
const Label = mesh.ExtensionLabel

// Namespaces returns the names of the namespaces of an extension. There should be at most one.
func Namespaces(ctx context.Context, cl *cluster.Client, name string) ([]string, error) {
	list, err := cl.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + name})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	slices.Sort(names)
	return names, nil
}

// ErrNotInstalled is returned by Namespace where the cluster does not have the extension.
var ErrNotInstalled = errors.New("not installed")

// Namespace returns the namespace of an extension.
func Namespace(ctx context.Context, cl *cluster.Client, name string) (string, error) {
	switch names, err := Namespaces(ctx, cl, name); {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "", fmt.Errorf("extension %s: %w: no namespace has the label %s=%s", name, ErrNotInstalled, Label, name)
	case len(names) > 1:
		return "", fmt.Errorf("extension %s: several namespaces have the label %s=%s: %s", name, Label, name,
			strings.Join(names, ", "))
	default:
		return names[0], nil
	}
}

// kind is a kind of object that an extension may have.
type kind struct {
	resource   schema.GroupVersionResource
	name       string
	namespaced bool
}

var roleBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1",
	Resource: "rolebindings"}

// namespaces returns where the objects of a kind are, of an extension with this namespace.
func (k kind) namespaces(own string) []string {
	switch {
	case !k.namespaced:
		return []string{metav1.NamespaceAll}
	case k.resource == roleBindings:
		return []string{authReaders, own}
	}
	return []string{own}
}

func (k kind) apiVersion() string { return k.resource.GroupVersion().String() }

// authReaders is the namespace of Kubernetes' role for aggregated APIs, where an extension may have a RoleBinding.
const authReaders = metav1.NamespaceSystem

// kinds are in the order in which their objects can be deleted. APIServices are first: while one has no server, the API
// server cannot list all kinds, and no namespace can be deleted. Rights and processes follow.
var kinds = []kind{
	{schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
		"APIService", false},
	{schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1",
		Resource: "validatingwebhookconfigurations"}, "ValidatingWebhookConfiguration", false},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
		"ClusterRoleBinding", false},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
		"ClusterRole", false},
	{roleBindings, "RoleBinding", true},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, "Role", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment", true},
	{schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		"PodDisruptionBudget", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "services"}, "Service", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "ConfigMap", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "ServiceAccount", true},
	{schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "podmonitors"},
		"PodMonitor", true},
	{schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "prometheusrules"},
		"PrometheusRule", true},
	{schema.GroupVersionResource{Group: "policy.linkerd.io", Version: "v1alpha1", Resource: "authorizationpolicies"},
		"AuthorizationPolicy", true},
	{schema.GroupVersionResource{Group: "policy.linkerd.io", Version: "v1alpha1", Resource: "meshtlsauthentications"},
		"MeshTLSAuthentication", true},
	{schema.GroupVersionResource{Group: "policy.linkerd.io", Version: "v1beta3", Resource: "servers"}, "Server", true},
}

// Objects returns the objects of an extension, cluster-wide ones and those of its namespace, in the order in which they
// can be deleted. The namespace itself is not among them.
func Objects(ctx context.Context, cl *cluster.Client, name, namespace string) ([]installation.ObjectName, error) {
	var objects []installation.ObjectName
	for _, k := range kinds {
		for _, at := range k.namespaces(namespace) {
			found, err := list(ctx, cl, k, name, at)
			if err != nil {
				return nil, err
			}
			objects = append(objects, found...)
		}
	}
	return objects, nil
}

func list(ctx context.Context, cl *cluster.Client, k kind, name, namespace string) ([]installation.ObjectName, error) {
	found, err := cl.Metadata.Resource(k.resource).Namespace(namespace).List(ctx,
		metav1.ListOptions{LabelSelector: Label + "=" + name})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil // a kind whose definition the cluster does not have
	case err != nil:
		return nil, fmt.Errorf("list %s: %w", k.resource.Resource, err)
	}
	var objects []installation.ObjectName
	for _, o := range found.Items {
		objects = append(objects, installation.ObjectName{APIVersion: k.apiVersion(), Kind: k.name,
			Metadata: installation.NameOnly{Name: o.Name, Namespace: o.Namespace}})
	}
	return objects, nil
}

// Uninstall returns what removes an extension when it is deleted: its objects outside of its namespace, then the
// namespace, with everything in it.
func Uninstall(ctx context.Context, cl *cluster.Client, name, namespace string) ([]installation.ObjectName, error) {
	objects, err := Objects(ctx, cl, name, namespace)
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o installation.ObjectName) bool { return o.Metadata.Namespace == namespace })
	return append(objects, installation.ObjectName{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Namespace",
		Metadata: installation.NameOnly{Name: namespace}}), nil
}

// Rendered returns the objects of manifests, without namespaces.
func Rendered(manifests []byte) ([]installation.ObjectName, error) {
	var objects []installation.ObjectName
	for _, doc := range install.Documents(manifests) {
		var o installation.ObjectName
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		if o.Kind != "Namespace" {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// Without returns the objects of list that are not in other, by kind and name.
func Without(list, other []installation.ObjectName) []installation.ObjectName {
	return slices.DeleteFunc(slices.Clone(list), func(o installation.ObjectName) bool {
		return slices.ContainsFunc(other, func(p installation.ObjectName) bool {
			return o.Kind == p.Kind && o.Metadata == p.Metadata
		})
	})
}
