package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// strip returns o with what package model reads and nothing else: caches of large clusters are mostly what nobody asks
// for. It is an informer's transform; o is not shared with anybody yet.
func strip(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		return stripPod(o), nil
	case *corev1.Service:
		annotations := meshAnnotations(o.Annotations)
		o.ObjectMeta = stripMeta(&o.ObjectMeta, false)
		o.Annotations = annotations
		o.Spec.Selector, o.Status = nil, corev1.ServiceStatus{}
	case *discoveryv1.EndpointSlice:
		service := o.Labels[discoveryv1.LabelServiceName]
		o.ObjectMeta = stripMeta(&o.ObjectMeta, false)
		o.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	case *corev1.Namespace:
		meta := stripMeta(&o.ObjectMeta, false)
		if revoked, ok := o.Annotations[mesh.RevokedAnnotation]; ok {
			if meta.Annotations == nil {
				meta.Annotations = map[string]string{}
			}
			meta.Annotations[mesh.RevokedAnnotation] = revoked
		}
		return &corev1.Namespace{ObjectMeta: meta}, nil
	case *corev1.Node:
		meta := stripMeta(&o.ObjectMeta, false)
		if zone, ok := o.Labels[corev1.LabelTopologyZone]; ok {
			meta.Labels = map[string]string{corev1.LabelTopologyZone: zone}
		}
		return &corev1.Node{ObjectMeta: meta}, nil
	}
	return o, nil
}

// stripMeta keeps names, versions, our annotations, and labels if asked to.
func stripMeta(m *metav1.ObjectMeta, labels bool) metav1.ObjectMeta {
	out := metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp,
		Annotations:       proxyAnnotations(m.Annotations),
	}
	if labels {
		out.Labels = m.Labels
		out.OwnerReferences = m.OwnerReferences
	}
	return out
}

// proxyAnnotations returns the annotations that the model reads.
func proxyAnnotations(all map[string]string) map[string]string {
	var out map[string]string
	for _, key := range mesh.SettingAnnotations {
		if value, ok := all[key]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = value
		}
	}
	return out
}

// meshAnnotations returns the annotations that may say something about requests: those of Linkerd's domains and of
// Tulle's.
func meshAnnotations(all map[string]string) map[string]string {
	var out map[string]string
	for key, value := range all {
		domain, _, _ := strings.Cut(key, "/")
		if !strings.HasSuffix(domain, "linkerd.io") && !strings.HasSuffix(domain, "tulle.dev") {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out
}

// stripConfiguration drops from an object that configures the mesh what the model does not read.
func stripConfiguration(o metav1.Object) {
	o.SetManagedFields(nil)
	o.SetFinalizers(nil)
	o.SetOwnerReferences(nil)
	o.SetAnnotations(meshAnnotations(o.GetAnnotations()))
}

func stripPod(p *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: stripMeta(&p.ObjectMeta, true),
		Spec: corev1.PodSpec{
			NodeName: p.Spec.NodeName, ServiceAccountName: p.Spec.ServiceAccountName, HostNetwork: p.Spec.HostNetwork,
			InitContainers: stripContainers(p.Spec.InitContainers), Containers: stripContainers(p.Spec.Containers),
		},
		Status: corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
}

func stripContainers(list []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(list))
	for i := range list {
		c := &list[i]
		out[i] = corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
		out[i].LivenessProbe, out[i].ReadinessProbe, out[i].StartupProbe = c.LivenessProbe, c.ReadinessProbe, c.StartupProbe
		out[i].Lifecycle = stripLifecycle(c.Lifecycle)
		if c.Name == mesh.ProxyContainer || c.Name == mesh.InitContainer {
			out[i].Env = c.Env
		}
	}
	return out
}

// stripLifecycle keeps the requests that the kubelet makes.
func stripLifecycle(l *corev1.Lifecycle) *corev1.Lifecycle {
	requests := func(h *corev1.LifecycleHandler) *corev1.LifecycleHandler {
		if h == nil || h.HTTPGet == nil {
			return nil
		}
		return &corev1.LifecycleHandler{HTTPGet: h.HTTPGet}
	}
	if l == nil {
		return nil
	}
	out := &corev1.Lifecycle{PostStart: requests(l.PostStart), PreStop: requests(l.PreStop)}
	if out.PostStart == nil && out.PreStop == nil {
		return nil
	}
	return out
}
