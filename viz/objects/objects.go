// Package objects reads the objects of a cluster for the viz commands, with the rights of the user who asks.
//
// It owns which API calls that takes, and which pods belong to an object. It knows nothing of metrics. The one idea: a
// pod names its owners, so one list of pods serves every kind.
package objects

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// pageSize is how many objects one request asks for.
const pageSize = 500

// Reader implements resource.Lister. It reads the pods of a namespace once. Several goroutines may use it.
type Reader struct {
	client           *cluster.Client
	controlNamespace string

	mu   sync.Mutex // guards the field below; held while pods are read, so that they are read once
	pods map[string][]corev1.Pod
}

// New returns a Reader. A pod counts as meshed if its proxy belongs to the control plane in controlNamespace.
func New(client *cluster.Client, controlNamespace string) *Reader {
	return &Reader{client: client, controlNamespace: controlNamespace, pods: map[string][]corev1.Pod{}}
}

// List implements resource.Lister.
func (c *Reader) List(ctx context.Context, k resource.Kind, namespace, selector string) ([]resource.Object, error) {
	if k.Name == "pod" {
		return c.listPods(ctx, namespace, selector)
	}
	var objects []resource.Object
	in := namespace
	if k.Name == resource.Namespace {
		in = ""
	}
	groups := []string{k.Group}
	if k.Class == resource.Route {
		groups = append(groups, resource.PolicyGroup)
	}
	seen := map[[2]string]bool{} // by namespace and name: a route may be of both groups
	for _, group := range groups {
		found, err := c.list(ctx, k.Plural, group, in, selector)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			object := resource.Object{Namespace: o.Namespace, Name: o.Name}
			if k.Name == resource.Namespace {
				object.Inject = o.Annotations[mesh.InjectAnnotation]
			}
			if at := [2]string{o.Namespace, o.Name}; !seen[at] {
				seen[at], objects = true, append(objects, object)
			}
		}
	}
	if !k.HasPods() || len(objects) == 0 {
		return objects, nil
	}
	if err := c.attachPods(ctx, k.Name, namespace, objects); err != nil {
		return nil, err
	}
	return objects, nil
}

// Pods returns the pods of a namespace, as of the first call for it; "" is every namespace.
func (c *Reader) Pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pods, ok := c.pods[namespace]; ok {
		return pods, nil
	}
	pods, err := c.readPods(ctx, namespace, "")
	if err != nil {
		return nil, err
	}
	c.pods[namespace] = pods
	return pods, nil
}

func (c *Reader) readPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		list, err := c.client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, explain(err, "pods", "", namespace)
		}
		pods = append(pods, list.Items...)
		if options.Continue = list.Continue; options.Continue == "" {
			return pods, nil
		}
	}
}

func (c *Reader) listPods(ctx context.Context, namespace, selector string) ([]resource.Object, error) {
	pods, err := c.readPods(ctx, namespace, selector)
	if err != nil {
		return nil, err
	}
	objects := make([]resource.Object, len(pods))
	for i := range pods {
		p := &pods[i]
		objects[i] = resource.Object{Namespace: p.Namespace, Name: p.Name, Status: status(p),
			Pods: []resource.Pod{c.pod(p)}}
	}
	return objects, nil
}

// list reads the metadata of every object of a resource, in the best version that the cluster serves.
func (c *Reader) list(ctx context.Context, plural, group, namespace, selector string) (
	out []metav1.PartialObjectMetadata, err error) {
	for _, version := range versions(plural, group) {
		options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
		r := c.client.Metadata.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
		for {
			list, err := r.Namespace(namespace).List(ctx, options)
			if apierrors.IsNotFound(err) {
				break
			}
			if err != nil {
				return nil, explain(err, plural, group, namespace)
			}
			out = append(out, list.Items...)
			if options.Continue = list.Continue; options.Continue == "" {
				return out, nil
			}
		}
	}
	return out, nil
}

// versions returns the API versions in which a resource can be read, best first; none for an unknown resource.
func versions(plural, group string) []string {
	all := slices.Concat(kinds.Core(), kinds.Workloads(), kinds.Configuration())
	i := slices.IndexFunc(all, func(k kinds.Kind) bool { return k.Plural == plural && k.Group == group })
	if i < 0 {
		return nil
	}
	return all[i].Versions
}

// explain returns the error of a list with its operation, and with the missing right if that is the cause.
func explain(err error, plural, group, namespace string) error {
	where := "all namespaces"
	if namespace != "" {
		where = fmt.Sprintf("namespace %q", namespace)
	}
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("list %s in %s: %w", plural, where, err)
	}
	name := plural
	if group != "" {
		name += "." + group
	}
	return fmt.Errorf("list %s in %s: you need the verb list on %s there: %w", plural, where, name, err)
}
