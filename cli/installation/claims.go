package installation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// ControlPlaneLabel marks the namespace of a control plane.
const ControlPlaneLabel = "linkerd.io/is-control-plane"

// ElsewhereError says that the cluster's installation is in another namespace. A cluster has one, since its
// cluster-wide objects have fixed names: another one would take them over.
type ElsewhereError struct {
	Namespace string // of the installation that exists
	Object    string // one of its cluster-wide objects, as kind/name
	Wanted    string // namespace
}

// Error implements error.
func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("namespace %s has an installation of Tulle already (%s belongs to it), and a cluster can have one "+
		"only: an installation in %s would take over its cluster-wide objects. To update it, add -L %s; to move it, "+
		"remove it first: tulle uninstall -L %s | kubectl delete -f -", e.Namespace, e.Object, e.Wanted, e.Namespace,
		e.Namespace)
}

// CheckElsewhere returns an ElsewhereError if cluster-wide objects that an installation at t consists of belong to
// another namespace. Other errors are about reading the cluster. Without a cluster there is none.
func CheckElsewhere(ctx context.Context, cl *cluster.Client, render install.Renderer, t install.Target) error {
	if cl == nil {
		return nil
	}
	ours, err := renderedNames(render, t)
	if err != nil {
		return err
	}
	for _, l := range clusterWide(ctx, cl, metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel}) {
		found, err := l.list()
		if err != nil {
			return fmt.Errorf("list %ss: %w", l.kind, err)
		}
		err = meta.EachListItem(found, func(o runtime.Object) error {
			m, err := meta.Accessor(o)
			if err != nil {
				return err
			}
			name, owner := l.kind+"/"+m.GetName(), m.GetLabels()[mesh.ControlPlaneNSLabel]
			if ours[name] && owner != "" && owner != t.Namespace {
				return &ElsewhereError{Namespace: owner, Object: name, Wanted: t.Namespace}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// renderedNames returns what install writes, as kind/name.
func renderedNames(render install.Renderer, t install.Target) (map[string]bool, error) {
	stream, err := render(install.Defaults(), t)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, doc := range install.Documents(stream) {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		names[object.Kind+"/"+object.Name] = true
	}
	return names, nil
}

// sharedWarning returns what an installation would change about a namespace that applications use. It is "" where no
// application does, where an installation has marked the namespace as its own, and without a cluster.
func sharedWarning(ctx context.Context, cl *cluster.Client, namespace string) (string, error) {
	if cl == nil {
		return "", nil
	}
	ns, err := cl.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read namespace %s: %w", namespace, err)
	case ns.Labels[ControlPlaneLabel] == "true":
		return "", nil
	}
	others := metav1.ListOptions{LabelSelector: "!" + mesh.ControlPlaneComponentLabel}
	pods, err := cl.CoreV1().Pods(namespace).List(ctx, others)
	if err != nil {
		return "", fmt.Errorf("list pods of namespace %s: %w", namespace, err)
	}
	var uses, names []string
	asks := inject.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	if inject.Decide(asks, &corev1.Pod{}).Action == inject.Inject {
		uses = append(uses, "it asks for proxies")
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; !cluster.Finished(pod) {
			names = append(names, pod.Name)
		}
	}
	if slices.Sort(names); names != nil {
		uses = append(uses, "its pods include "+cluster.Abbreviate(names))
	}
	if uses == nil {
		return "", nil
	}
	return fmt.Sprintf(`applications use namespace %s: %s.
  This output sets its annotation %s to disabled and enforces the restricted Pod Security Standard.
  New pods there get no proxy, and pods that need more rights are refused. Uninstalling would delete the namespace.
  Choose a namespace for the control plane alone with --linkerd-namespace.`, namespace, strings.Join(uses, "; "),
		mesh.InjectAnnotation), nil
}
