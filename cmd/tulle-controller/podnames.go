package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of what tap reads of pods.
const (
	// podPage is how many pods an answer has: the pager holds some of them at once.
	podPage = 100
	// podsTimeout bounds how long a list may take.
	podsTimeout = 20 * time.Second
	// namesFresh is how old the names may be when a watch begins, namesEvery how often a watch has them read again: an
	// address may be another pod's by then.
	namesFresh = 5 * time.Second
	namesEvery = 30 * time.Second
)

// eachPod calls f with each pod, page by page, and forgets it.
func eachPod(
	ctx context.Context, client kubernetes.Interface, namespace string, options metav1.ListOptions, f func(*corev1.Pod),
) error {
	ctx, cancel := context.WithTimeout(ctx, podsTimeout)
	defer cancel()
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Pods(namespace).List(ctx, options)
	})
	pages.PageSize = podPage
	return pages.EachListItem(ctx, options, func(o runtime.Object) error {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("a %T instead of a pod", o)
		}
		f(pod)
		return nil
	})
}

// tapPods lists pods with what a tap asks for: their metadata, their proxy and their status.
func tapPods(ctx context.Context, client kubernetes.Interface, namespace, selector string) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	other := func(c corev1.Container) bool { return c.Name != mesh.ProxyContainer }
	err := eachPod(ctx, client, namespace, metav1.ListOptions{LabelSelector: selector}, func(pod *corev1.Pod) {
		pod = pod.DeepCopy() // the page can go
		pod.ManagedFields, pod.Spec.Volumes = nil, nil
		pod.Spec.InitContainers = slices.Clip(slices.DeleteFunc(pod.Spec.InitContainers, other))
		pod.Spec.Containers = slices.Clip(slices.DeleteFunc(pod.Spec.Containers, other))
		pods = append(pods, *pod)
	})
	return pods, err
}

// podNames says which pod has an address. All watches share one list of the cluster's pods, which goes with the last of
// them. Its methods may be called by several goroutines.
type podNames struct {
	client kubernetes.Interface
	log    *zap.Logger

	byAddr atomic.Pointer[map[netip.Addr]mesh.PodRef] // nil if nothing was read

	mu      sync.Mutex // held while pods are read, so that one reads for all; guards the fields below
	watches int
	read    time.Time
}

// at implements tap.Watcher's PodAt.
func (n *podNames) at(a netip.Addr) (mesh.PodRef, bool) {
	byAddr := n.byAddr.Load()
	if byAddr == nil {
		return mesh.PodRef{}, false
	}
	ref, ok := (*byAddr)[a]
	return ref, ok
}

// during reads the names, runs a watch, and reads them again and again until it ends.
func (n *podNames) during(ctx context.Context, watch func() error) error {
	n.begin(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(namesEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				n.refresh(ctx)
			}
		}
	})
	defer func() {
		cancel()
		wg.Wait()
		n.end()
	}()
	return watch()
}

func (n *podNames) begin(ctx context.Context) {
	n.mu.Lock()
	n.watches++
	n.mu.Unlock()
	n.refresh(ctx)
}

// end forgets the names after the last watch.
func (n *podNames) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watches--; n.watches == 0 {
		n.byAddr.Store(nil)
		n.read = time.Time{}
	}
}

// refresh reads the names, if nobody did a moment ago. If they cannot be read, clients have no names: old ones may be
// those of other pods.
func (n *podNames) refresh(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() != nil || !n.read.IsZero() && time.Since(n.read) < namesFresh {
		return
	}
	byAddr := map[netip.Addr]mesh.PodRef{}
	// Others wait for this list, so it does not end with the watch that asked for it.
	err := eachPod(context.WithoutCancel(ctx), n.client, "", metav1.ListOptions{
		FieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
	}, func(pod *corev1.Pod) {
		if pod.Spec.HostNetwork {
			return
		}
		for _, ip := range pod.Status.PodIPs {
			if addr, err := netip.ParseAddr(ip.IP); err == nil {
				byAddr[addr.Unmap()] = compile.PodRef(pod)
			}
		}
	})
	n.read = time.Now()
	if err != nil {
		n.log.Warn("clients have no names in watches", zap.Error(err))
		n.byAddr.Store(nil)
		return
	}
	n.byAddr.Store(&byAddr)
}
