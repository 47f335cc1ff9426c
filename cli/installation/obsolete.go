package installation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// Names returns the objects of a YAML stream of install.
func Names(stream []byte) ([]ObjectName, error) {
	var names []ObjectName
	for _, doc := range install.Documents(stream) {
		var o ObjectName
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		names = append(names, o)
	}
	return names, nil
}

// Obsolete returns the objects of the installation that are not among the manifests, in the order in which they can be
// deleted. It looks at the kinds that install writes, without Secrets: a key is never deleted unasked. What controllers
// made and extensions are not among them.
func Obsolete(ctx context.Context, cl *cluster.Client, control string, manifests []byte) ([]ObjectName, error) {
	wanted, err := Names(manifests)
	if err != nil {
		return nil, err
	}
	written := map[string]bool{}
	for _, o := range wanted {
		written[o.key()] = true
	}
	opts := metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control + ",!" + mesh.ExtensionLabel}
	var obsolete []ObjectName
	for _, l := range append(clusterWide(ctx, cl, opts), namespaced(ctx, cl, control, opts)...) {
		found, err := l.list()
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", l.kind, err)
		}
		err = meta.EachListItem(found, func(o runtime.Object) error {
			m, err := meta.Accessor(o)
			if err != nil {
				return err
			}
			name := ObjectName{l.apiVersion, l.kind, NameOnly{m.GetName(), m.GetNamespace()}}
			if !written[name.key()] && !madeInCluster(l.kind, m) {
				obsolete = append(obsolete, name)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", l.kind, err)
		}
	}
	return obsolete, nil
}

// key is what distinguishes an object from others of the installation. Its version does not: the API server serves the
// object in each.
func (o ObjectName) key() string {
	return strings.Join([]string{o.Kind, o.Metadata.Namespace, o.Metadata.Name}, "/")
}

// madeInCluster reports whether a controller made the object, and not install. Of the kinds that both make, install
// marks what it writes.
func madeInCluster(kind string, m metav1.Object) bool {
	switch {
	case len(m.GetOwnerReferences()) > 0, m.GetName() == mesh.TrustRootsConfigMap:
		return true
	case kind == "ConfigMap" || kind == "MutatingWebhookConfiguration":
		return !strings.HasPrefix(m.GetAnnotations()[mesh.CreatedByAnnotation], "tulle/cli ")
	}
	return false
}

// namespaced returns how to list the objects that install writes into the control plane's namespace: rights and
// processes first.
func namespaced(ctx context.Context, cl *cluster.Client, control string, opts metav1.ListOptions) []listing {
	const rbacV1 = "rbac.authorization.k8s.io/v1"
	return []listing{
		{rbacV1, "RoleBinding",
			func() (runtime.Object, error) { return cl.RbacV1().RoleBindings(control).List(ctx, opts) }},
		{rbacV1, "Role", func() (runtime.Object, error) { return cl.RbacV1().Roles(control).List(ctx, opts) }},
		{"apps/v1", "Deployment",
			func() (runtime.Object, error) { return cl.AppsV1().Deployments(control).List(ctx, opts) }},
		{"policy/v1", "PodDisruptionBudget",
			func() (runtime.Object, error) { return cl.PolicyV1().PodDisruptionBudgets(control).List(ctx, opts) }},
		{"v1", "Service", func() (runtime.Object, error) { return cl.CoreV1().Services(control).List(ctx, opts) }},
		{"v1", "ConfigMap", func() (runtime.Object, error) { return cl.CoreV1().ConfigMaps(control).List(ctx, opts) }},
		{"v1", "ServiceAccount",
			func() (runtime.Object, error) { return cl.CoreV1().ServiceAccounts(control).List(ctx, opts) }},
	}
}

// definitionsResource is that of CustomResourceDefinitions.
var definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// ObsoleteDefinitions returns the CustomResourceDefinitions that an earlier release wrote and this one does not,
// without those that have resources. Notes say which stay.
func ObsoleteDefinitions(ctx context.Context, cl *cluster.Client, t install.Target) (objects []ObjectName,
	notes []string, err error) {
	known, existing, err := definitions(ctx, cl, t)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range existing {
		ours := d.Labels[mesh.ControlPlaneNSLabel] == t.Namespace &&
			strings.HasPrefix(d.Annotations[mesh.CreatedByAnnotation], "tulle/cli ")
		if !ours || slices.ContainsFunc(known, func(k install.Definition) bool { return k.Name() == d.Name }) {
			continue
		}
		resources, err := resourcesOf(ctx, cl, d.Name)
		if err != nil {
			return nil, nil, err
		}
		if len(resources) > 0 {
			notes = append(notes, fmt.Sprintf("%s stays: this version does not use it, but deleting it would delete %d "+
				"resources: %s", d.Name, len(resources), cluster.Abbreviate(resources)))
			continue
		}
		objects = append(objects, ObjectName{"apiextensions.k8s.io/v1", "CustomResourceDefinition", NameOnly{Name: d.Name}})
	}
	return objects, notes, nil
}

// resourcesOf returns the names of the resources of a definition.
func resourcesOf(ctx context.Context, cl *cluster.Client, definition string) ([]string, error) {
	tree, err := cl.Dynamic.Resource(definitionsResource).Get(ctx, definition, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read definition %s: %w", definition, err)
	}
	var spec struct {
		Spec struct {
			Group string `json:"group"`
			Names struct {
				Plural string `json:"plural"`
			} `json:"names"`
			Versions []struct {
				Name   string `json:"name"`
				Served bool   `json:"served"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(tree.Object, &spec); err != nil {
		return nil, fmt.Errorf("read definition %s: %w", definition, err)
	}
	for _, v := range spec.Spec.Versions {
		if !v.Served {
			continue
		}
		resource := schema.GroupVersionResource{Group: spec.Spec.Group, Version: v.Name, Resource: spec.Spec.Names.Plural}
		list, err := cl.Metadata.Resource(resource).List(ctx, metav1.ListOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list %s: %w", definition, err)
		}
		var names []string
		for _, r := range list.Items {
			names = append(names, strings.TrimPrefix(r.Namespace+"/"+r.Name, "/"))
		}
		return names, nil
	}
	return nil, fmt.Errorf("not known whether definition %s has resources: no version of it is served", definition)
}
