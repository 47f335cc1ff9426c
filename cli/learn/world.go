package learn

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
)

// World is the state of a cluster, as its objects define it, with the policy that each pod's proxy has in that state.
type World struct {
	config    model.Config
	store     *model.Store
	snapshot  *model.Snapshot
	objects   []metav1.Object
	pods      map[Workload][]*corev1.Pod // those with a proxy that have not ended, by name
	ownerOf   map[Workload]Workload      // of pods by name; the zero Workload for one without a proxy
	addresses map[mesh.ID][]netip.Addr   // of the pods of an identity
	compiled  map[*corev1.Pod]*proxy
}

// proxy is the inbound policy of one pod's proxy.
type proxy struct {
	inbound *mesh.Inbound
	policy  *authz.Policy // inbound, compiled at the first use
}

// port returns the policy of a port.
func (p *proxy) port(number uint16) *authz.Port {
	if p.policy == nil {
		p.policy = authz.Compile(p.inbound, nil)
	}
	return p.policy.Port(number)
}

// NewWorld returns the World after the events, which it applies in order.
func NewWorld(config model.Config, events []model.Event) *World {
	w := &World{config: config, store: model.New(config), pods: map[Workload][]*corev1.Pod{},
		ownerOf: map[Workload]Workload{}, addresses: map[mesh.ID][]netip.Addr{}, compiled: map[*corev1.Pod]*proxy{}}
	for _, e := range events {
		w.store.Apply(e)
		if e.Object == nil || e.Deleted {
			continue
		}
		w.objects = append(w.objects, e.Object)
		if pod, ok := e.Object.(*corev1.Pod); ok {
			w.addPod(pod)
		}
	}
	for _, pods := range w.pods {
		slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	}
	w.snapshot = model.BuildSnapshot(w.store)
	return w
}

func (w *World) addPod(pod *corev1.Pod) {
	owner, meshed := workloadOf(pod, w.config.ControlPlaneNamespace)
	name := Workload{pod.Namespace, "pod", pod.Name}
	if !meshed {
		w.ownerOf[name] = Workload{}
		return
	}
	w.ownerOf[name] = owner
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return
	}
	w.pods[owner] = append(w.pods[owner], pod)
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	id := mesh.ID{TrustDomain: w.config.TrustDomain, Namespace: pod.Namespace, ServiceAccount: account}
	for _, ip := range pod.Status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			w.addresses[id] = append(w.addresses[id], addr)
		}
	}
}

// workloadOf returns the workload that the injector recorded for a pod. ok is false for pods that this control plane
// has not injected.
func workloadOf(pod *corev1.Pod, controlPlane string) (w Workload, ok bool) {
	w = Workload{pod.Namespace, "pod", pod.Name}
	if kind, name := podowner.Labelled(pod); kind != "" {
		w.Kind, w.Name = kind, name
	}
	return w, pod.Labels[mesh.ControlPlaneNSLabel] == controlPlane
}

// HasNamespace reports whether the cluster has the namespace.
func (w *World) HasNamespace(name string) bool {
	return slices.ContainsFunc(w.objects, func(o metav1.Object) bool {
		_, ok := o.(*corev1.Namespace)
		return ok && o.GetName() == name
	})
}

// proxyOf returns the proxy of a pod in this world. The pod may be an object of another world.
func (w *World) proxyOf(pod *corev1.Pod) *proxy {
	if p, ok := w.compiled[pod]; ok {
		return p
	}
	client := mesh.Client{Namespace: pod.Namespace, Pod: pod.Name}
	q := model.QueryFor(w.store, w.snapshot, mesh.Target{}, client)
	p := &proxy{inbound: model.Resolve(w.store, w.snapshot, q).Inbound}
	if p.inbound == nil { // the model does not know the pod
		p.inbound = &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}}
	}
	w.compiled[pod] = p
	return p
}
