package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// namedPods are the pods of a large cluster: a list has one pod a page.
type namedPods struct {
	mu    sync.Mutex
	names []string
	err   error // of each list, unless it is nil
	lists int   // that were asked for
}

// set changes what lists answer.
func (n *namedPods) set(err error, names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.names = err, names
}

func (n *namedPods) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lists
}

func (n *namedPods) client(t *testing.T) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
		options := a.(kubetesting.ListActionImpl).ListOptions
		if options.Limit == 0 || options.ResourceVersion == "0" {
			t.Errorf("asked with %+v: not for a page", options)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.err != nil {
			return true, nil, n.err
		}
		page := 0
		if options.Continue == "" {
			n.lists++
		} else if _, err := fmt.Sscan(options.Continue, &page); err != nil {
			t.Error(err)
		}
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: n.names[page]}}
		pod.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.0.%d", page+1)}}
		pod.Spec.Containers = []corev1.Container{{Name: "app"}, {Name: mesh.ProxyContainer}}
		list := &corev1.PodList{Items: []corev1.Pod{pod}}
		if page+1 < len(n.names) {
			list.Continue = fmt.Sprint(page + 1)
		}
		return true, list, nil
	})
	return client
}

// TestWatchesShareTheNamesOfPods: one list is for all watches, is read again while they last, and goes with the last.
func TestWatchesShareTheNamesOfPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := &namedPods{names: []string{"web", "api"}}
		n := &podNames{client: pods.client(t), log: zap.NewNop()}
		expect := func(want string) {
			t.Helper()
			if ref, ok := n.at(netip.MustParseAddr("10.0.0.2")); ref.Name != want || ok != (want != "") {
				t.Errorf("the address is %q's, want %q", ref.Name, want)
			}
		}
		// wait waits until the bubble's clock has passed d.
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		end := make(chan struct{})
		done := make(chan error)
		for range 8 {
			go func() { done <- n.during(context.Background(), func() error { <-end; return nil }) }()
		}
		synctest.Wait()
		if expect("api"); pods.asked() != 1 {
			t.Errorf("8 watches read %d lists, want 1", pods.asked())
		}
		pods.set(nil, "web", "another")
		wait(namesEvery)
		if expect("another"); pods.asked() != 2 {
			t.Errorf("read %d lists, want 2", pods.asked())
		}
		pods.set(errors.New("away"))
		wait(namesEvery)
		expect("")
		pods.set(nil, "web", "another")
		wait(namesEvery)
		expect("another")
		close(end)
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		expect("")
	})
}

// TestTapReadsPodsInPages wants all pods, without what no tap asks for.
func TestTapReadsPodsInPages(t *testing.T) {
	named := &namedPods{names: []string{"web-1", "web-2"}}
	pods, err := tapPods(t.Context(), named.client(t), "shop", "")
	if err != nil || len(pods) != 2 || pods[1].Name != "web-2" || len(pods[1].Spec.Containers) != 1 {
		t.Errorf("got %v, %v", pods, err)
	}
}
