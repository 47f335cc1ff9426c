package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) uninstallCommand() *cobra.Command {
	var opts uninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Print the manifests of everything that an installation left in the cluster",
		Long: `uninstall prints what belongs to the installation, for kubectl to delete: cluster-wide objects, the trust anchors of every
namespace, and the control plane's namespace with all that is in it, keys included. It refuses while pods still have a proxy, since
these would lose their identity within a day; --force prints anyway.

Deleting a CRD deletes all resources of its kind. So CRDs that still have resources, such as ServiceProfiles, are left out and named on
stderr; --with-resources prints them too.`,
		Example: `  tulle uninstall | kubectl delete -f -`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.uninstall(cmd.Context(), opts) },
	}
	cmd.Flags().BoolVarP(&opts.force, "force", "f", false, "even if pods still have a proxy")
	cmd.Flags().BoolVar(&opts.resources, "with-resources", false, "also print CRDs that still have resources; deleting them deletes those resources")
	cmd.Flags().StringVarP(&opts.output, "output", "o", "yaml", "format: yaml or json")
	return cmd
}

// uninstallOptions are the flags of uninstall.
type uninstallOptions struct {
	force, resources bool
	output           string
}

func (c *cli) uninstall(ctx context.Context, opts uninstallOptions) error {
	if opts.output != "yaml" && opts.output != "json" {
		return fmt.Errorf("output %q: want yaml or json", opts.output)
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return err
	}
	meshed, err := meshedPods(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return err
	}
	if len(meshed) > 0 {
		pods := "1 pod still has"
		if len(meshed) > 1 {
			pods = fmt.Sprintf("%d pods still have", len(meshed))
		}
		text := pods + " a proxy: " + cluster.Abbreviate(meshed)
		if !opts.force {
			return errors.New(text + "\nremove them with `tulle uninject`, or the annotation and a restart, first; --force uninstalls anyway")
		}
		fmt.Fprintln(c.err, "warning:", text)
	}
	objects, err := installedObjects(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return err
	}
	definitions, err := c.unusedDefinitions(ctx, cl, opts.resources)
	if err != nil {
		return err
	}
	objects = append(objects, definitions...)
	if len(objects) == 0 {
		return fmt.Errorf("nothing of Tulle found (namespace %s)", c.flags.controlNamespace)
	}
	return c.writeObjects(objects, opts.output)
}

// meshedPods returns the pods whose proxies belong to the control plane of the namespace, as namespace/name, sorted.
func meshedPods(ctx context.Context, cl *cluster.Client, control string) ([]string, error) {
	pods, err := cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var names []string
	for i := range pods.Items {
		if pod := &pods.Items[i]; cluster.ProxyOf(pod) != nil && !cluster.Finished(pod) {
			names = append(names, pod.Namespace+"/"+pod.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// objectName is all that deleting an object needs.
type objectName struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   nameOnly `json:"metadata"`
}

type nameOnly struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// installedObjects lists what has the installation's label, in the order in which it can be deleted in one go: first the webhook, so
// that it refuses no pod, then the rights and the processes of the controllers, so that they repair nothing, the namespace last.
func installedObjects(ctx context.Context, cl *cluster.Client, control string) ([]objectName, error) {
	opts := metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control}
	admission, rbac := cl.AdmissionregistrationV1(), cl.RbacV1()
	lists := []struct {
		apiVersion, kind string
		list             func() (runtime.Object, error)
	}{
		{"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", func() (runtime.Object, error) { return admission.MutatingWebhookConfigurations().List(ctx, opts) }},
		{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", func() (runtime.Object, error) { return rbac.ClusterRoleBindings().List(ctx, opts) }},
		{"rbac.authorization.k8s.io/v1", "ClusterRole", func() (runtime.Object, error) { return rbac.ClusterRoles().List(ctx, opts) }},
		{"apps/v1", "Deployment", func() (runtime.Object, error) { return cl.AppsV1().Deployments(control).List(ctx, opts) }},
		{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", func() (runtime.Object, error) {
			return admission.ValidatingAdmissionPolicyBindings().List(ctx, opts)
		}},
		{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", func() (runtime.Object, error) { return admission.ValidatingAdmissionPolicies().List(ctx, opts) }},
		{"v1", "ConfigMap", func() (runtime.Object, error) { return cl.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, opts) }},
	}
	var objects []objectName
	for _, l := range lists {
		found, err := l.list()
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", l.kind, err)
		}
		err = meta.EachListItem(found, func(o runtime.Object) error {
			m, err := meta.Accessor(o)
			if err == nil {
				objects = append(objects, objectName{l.apiVersion, l.kind, nameOnly{m.GetName(), m.GetNamespace()}})
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
	return append(objects, objectName{corev1.SchemeGroupVersion.String(), "Namespace", nameOnly{Name: ns.Name}}), nil
}

// unusedDefinitions lists the installation's CustomResourceDefinitions of which there are no resources, or all of them, and says on
// stderr which stay.
func (c *cli) unusedDefinitions(ctx context.Context, cl *cluster.Client, all bool) ([]objectName, error) {
	known, err := install.Definitions(install.Target{Namespace: c.flags.controlNamespace, Version: version})
	if err != nil {
		return nil, err
	}
	existing, err := cl.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	var objects []objectName
	for _, d := range existing {
		if d.Labels[mesh.ControlPlaneNSLabel] != c.flags.controlNamespace {
			continue
		}
		i := slices.IndexFunc(known, func(k install.Definition) bool { return k.Name() == d.Name })
		if i < 0 {
			continue // of another release, or somebody's who uses the label
		}
		resources, err := cl.Metadata.Resource(known[i].Resource).List(ctx, metav1.ListOptions{})
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("list %s: %w", d.Name, err)
		case err == nil && len(resources.Items) > 0 && !all:
			fmt.Fprintf(c.err, "note: %s stays: deleting it would delete %d resources, such as %s/%s; --with-resources deletes them\n",
				d.Name, len(resources.Items), resources.Items[0].Namespace, resources.Items[0].Name)
			continue
		}
		objects = append(objects, objectName{"apiextensions.k8s.io/v1", "CustomResourceDefinition", nameOnly{Name: d.Name}})
	}
	return objects, nil
}

func (c *cli) writeObjects(objects []objectName, format string) error {
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
	_, err := c.out.Write(out.Bytes())
	return err
}
