package objects

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// FreshPods is Pods with a list that is read anew.
func (c *Reader) FreshPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	pods, err := c.readPods(ctx, namespace, "")
	out := make([]*corev1.Pod, len(pods))
	for i := range pods {
		out[i] = &pods[i]
	}
	return out, err
}

// attachPods adds to each object of a kind the pods that belong to it.
func (c *Reader) attachPods(ctx context.Context, kind, namespace string, objects []resource.Object) error {
	pods, err := c.Pods(ctx, namespace)
	if err != nil {
		return err
	}
	type key struct{ namespace, name string }
	index := map[key]int{}
	for i, o := range objects {
		index[key{o.Namespace, o.Name}] = i
	}
	for i := range pods {
		p := &pods[i]
		at := key{p.Namespace, podowner.All(p)[kind]}
		if kind == resource.Namespace {
			at = key{"", p.Namespace}
		}
		if i, ok := index[at]; ok {
			objects[i].Pods = append(objects[i].Pods, c.pod(p))
		}
	}
	return nil
}

func (c *Reader) pod(p *corev1.Pod) resource.Pod {
	return resource.Pod{
		Name:           p.Name,
		ServiceAccount: cmp.Or(p.Spec.ServiceAccountName, "default"),
		Meshed:         sidecar.Of(p) != nil && p.Labels[mesh.ControlPlaneNSLabel] == c.controlNamespace,
		Version:        p.Annotations[mesh.ProxyVersionAnnotation],
		Running:        sidecar.Running(p),
		TapEnabled:     sidecar.TapID(p) != "",
		Finished:       cluster.Finished(p),
		Inject:         inject(p),
	}
}

// inject returns whether the pod asks for a proxy, as resource.Pod's Inject.
func inject(p *corev1.Pod) string {
	if p.Spec.HostNetwork {
		return "disabled"
	}
	return p.Annotations[mesh.InjectAnnotation]
}

// status returns a pod's state in one word, as kubectl's column STATUS does in the common cases.
func status(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	if p.Status.Reason != "" {
		return p.Status.Reason
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return w.Reason
		}
	}
	return string(p.Status.Phase)
}
