package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// kindNames are the ways in which people write the kinds that have pods.
var kindNames = map[string][]string{
	"pod":         {"po", "pods"},
	"deployment":  {"deploy", "deployments"},
	"statefulset": {"sts", "statefulsets"},
	"daemonset":   {"ds", "daemonsets"},
	"replicaset":  {"rs", "replicasets"},
	"job":         {"jobs"},
	"service":     {"svc", "services"},
	"namespace":   {"ns", "namespaces"},
}

// ParseResource reads "kind/name" or "kind name".
func ParseResource(args []string) (kind, name string, err error) {
	if len(args) == 1 {
		var ok bool
		if kind, name, ok = strings.Cut(args[0], "/"); !ok {
			return "", "", fmt.Errorf("%q: want kind/name, such as deploy/web", args[0])
		}
	} else {
		kind, name = args[0], args[1]
	}
	kind = strings.ToLower(kind)
	for canonical, short := range kindNames {
		if kind == canonical || slices.Contains(short, kind) {
			return canonical, name, nil
		}
	}
	return "", "", fmt.Errorf("%q is not a kind that has pods: want pod, deployment, statefulset, daemonset, "+
		"replicaset, job, service or namespace", kind)
}

// PodsOf returns the living pods of a resource, sorted by name; it is an error if there are none.
func PodsOf(ctx context.Context, cl *Client, kind, name string) ([]corev1.Pod, error) {
	selector, namespace, err := selectorOf(ctx, cl, kind, name)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w in namespace %s; -n names another", err, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", kind, name, err)
	}
	opts := metav1.ListOptions{}
	if kind == "pod" {
		opts.FieldSelector = "metadata.name=" + name
	} else if opts.LabelSelector, err = labelSelector(selector); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", kind, name, err)
	}
	list, err := cl.CoreV1().Pods(namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", kind, name, err)
	}
	pods := slices.DeleteFunc(list.Items,
		func(p corev1.Pod) bool { return Finished(&p) || kind == "pod" && p.Name != name })
	if len(pods) == 0 && kind == "pod" {
		return nil, fmt.Errorf("no pod %s runs in namespace %s", name, namespace)
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("no pods of %s/%s in namespace %s", kind, name, namespace)
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

// PodsSelected returns the pods with the labels, sorted by name; it is an error if there are none.
func PodsSelected(ctx context.Context, cl *Client, selector string) ([]corev1.Pod, error) {
	list, err := cl.CoreV1().Pods(cl.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", selector, err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("no pods of %s in namespace %s", selector, cl.Namespace)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// ControlPods returns the pods of the control plane in a namespace, sorted by name; it is an error if there are none.
func ControlPods(ctx context.Context, cl *Client, namespace string) ([]corev1.Pod, error) {
	list, err := cl.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: mesh.ControlPlaneComponentLabel})
	if err != nil {
		return nil, fmt.Errorf("list control-plane pods: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("no control-plane pods in namespace %s", namespace)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// labelSelector writes a selector as a query; nil selects everything.
func labelSelector(s *metav1.LabelSelector) (string, error) {
	if s == nil {
		return "", nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "", err
	}
	return selector.String(), nil
}

// selectorOf returns how the resource selects its pods, and the namespace that they are in.
func selectorOf(ctx context.Context, cl *Client, kind, name string) (*metav1.LabelSelector, string, error) {
	opts, ns := metav1.GetOptions{}, cl.Namespace
	switch kind {
	case "pod":
		return nil, ns, nil
	case "namespace":
		return nil, name, nil
	case "deployment":
		o, err := cl.AppsV1().Deployments(ns).Get(ctx, name, opts)
		return o.Spec.Selector, ns, err
	case "statefulset":
		o, err := cl.AppsV1().StatefulSets(ns).Get(ctx, name, opts)
		return o.Spec.Selector, ns, err
	case "daemonset":
		o, err := cl.AppsV1().DaemonSets(ns).Get(ctx, name, opts)
		return o.Spec.Selector, ns, err
	case "replicaset":
		o, err := cl.AppsV1().ReplicaSets(ns).Get(ctx, name, opts)
		return o.Spec.Selector, ns, err
	case "job":
		o, err := cl.BatchV1().Jobs(ns).Get(ctx, name, opts)
		return o.Spec.Selector, ns, err
	}
	o, err := cl.CoreV1().Services(ns).Get(ctx, name, opts)
	if err == nil && len(o.Spec.Selector) == 0 {
		err = errors.New("the Service has no selector")
	}
	return &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, ns, err
}
