package installation

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// MeshedPods returns the pods whose proxies belong to the control plane of the namespace, as namespace/name, sorted.
func MeshedPods(ctx context.Context, cl *cluster.Client, control string) ([]string, error) {
	pods, err := cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var names []string
	for i := range pods.Items {
		if pod := &pods.Items[i]; sidecar.Of(pod) != nil && !cluster.Finished(pod) {
			names = append(names, pod.Namespace+"/"+pod.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ObjectName is all that deleting an object needs.
type ObjectName struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   NameOnly `json:"metadata"`
}

// NameOnly is the metadata of an ObjectName.
type NameOnly struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// listing lists the objects of one kind.
type listing struct {
	apiVersion, kind string
	list             func() (runtime.Object, error)
}

// clusterWide returns how to list the objects of an installation that are in no namespace, in the order in which they
// can be deleted: the webhook, rights, admission policies.
func clusterWide(ctx context.Context, cl *cluster.Client, opts metav1.ListOptions) []listing {
	const admissionV1, rbacV1 = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"
	admission, rbac := cl.AdmissionregistrationV1(), cl.RbacV1()
	return []listing{
		{admissionV1, "MutatingWebhookConfiguration",
			func() (runtime.Object, error) { return admission.MutatingWebhookConfigurations().List(ctx, opts) }},
		{rbacV1, "ClusterRoleBinding", func() (runtime.Object, error) { return rbac.ClusterRoleBindings().List(ctx, opts) }},
		{rbacV1, "ClusterRole", func() (runtime.Object, error) { return rbac.ClusterRoles().List(ctx, opts) }},
		{admissionV1, "ValidatingAdmissionPolicyBinding",
			func() (runtime.Object, error) { return admission.ValidatingAdmissionPolicyBindings().List(ctx, opts) }},
		{admissionV1, "ValidatingAdmissionPolicy",
			func() (runtime.Object, error) { return admission.ValidatingAdmissionPolicies().List(ctx, opts) }},
	}
}

// Objects returns what has the installation's label, in the order in which it can be deleted in one go: first the
// webhook, so that it refuses no pod, then the rights and the processes of the controllers, so that they repair
// nothing, the namespace last.
func Objects(ctx context.Context, cl *cluster.Client, control string) ([]ObjectName, error) {
	opts := metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control}
	lists := slices.Insert(clusterWide(ctx, cl, opts), 3, listing{"apps/v1", "Deployment",
		func() (runtime.Object, error) { return cl.AppsV1().Deployments(control).List(ctx, opts) }})
	lists = append(lists, listing{"v1", "ConfigMap",
		func() (runtime.Object, error) { return cl.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, opts) }})
	var objects []ObjectName
	for _, l := range lists {
		found, err := l.list()
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", l.kind, err)
		}
		err = meta.EachListItem(found, func(o runtime.Object) error {
			m, err := meta.Accessor(o)
			if err == nil {
				objects = append(objects, ObjectName{l.apiVersion, l.kind, NameOnly{m.GetName(), m.GetNamespace()}})
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", l.kind, err)
		}
	}
	ns, err := cl.CoreV1().Namespaces().Get(ctx, control, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return objects, nil
	case err != nil:
		return nil, fmt.Errorf("read namespace %s: %w", control, err)
	}
	return append(objects, ObjectName{corev1.SchemeGroupVersion.String(), "Namespace", NameOnly{Name: ns.Name}}), nil
}

// definitions returns the CustomResourceDefinitions that this version writes, and those that the cluster has.
func definitions(ctx context.Context, cl *cluster.Client, t install.Target) (known []install.Definition,
	existing []metav1.PartialObjectMetadata, err error) {
	if known, err = install.Definitions(t); err != nil {
		return nil, nil, err
	}
	existing, err = cl.Definitions(ctx)
	return known, existing, err
}

// Definitions returns the installation's CustomResourceDefinitions: those without resources, or all of them. Notes say
// which stay.
func Definitions(ctx context.Context, cl *cluster.Client, t install.Target, all bool) (objects []ObjectName,
	notes []string, err error) {
	known, existing, err := definitions(ctx, cl, t)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range existing {
		if d.Labels[mesh.ControlPlaneNSLabel] != t.Namespace {
			continue
		}
		i := slices.IndexFunc(known, func(k install.Definition) bool { return k.Name() == d.Name })
		if i < 0 {
			continue // of another release, or somebody's who uses the label
		}
		resources, err := cl.Metadata.Resource(known[i].Resource).List(ctx, metav1.ListOptions{})
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			return nil, nil, fmt.Errorf("list %s: %w", d.Name, err)
		case err == nil && len(resources.Items) > 0 && !all:
			notes = append(notes, fmt.Sprintf("%s stays: deleting it would delete %d resources, such as %s/%s; "+
				"--with-resources deletes them",
				d.Name, len(resources.Items), resources.Items[0].Namespace, resources.Items[0].Name))
			continue
		}
		objects = append(objects, ObjectName{"apiextensions.k8s.io/v1", "CustomResourceDefinition", NameOnly{Name: d.Name}})
	}
	return objects, notes, nil
}

// Write writes the names of objects for kubectl to delete, as yaml or json.
func Write(w io.Writer, objects []ObjectName, format string) error {
	var out bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if format == "json" && err == nil {
			data, err = yaml.YAMLToJSON(data)
			data = append(data, '\n')
		}
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", strings.ToLower(o.Kind), o.Metadata.Name, err)
		}
		if format == "yaml" {
			out.WriteString("---\n")
		}
		out.Write(data)
	}
	_, err := w.Write(out.Bytes())
	return err
}
