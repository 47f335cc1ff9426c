package check

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
)

// A hundred proxies that take a connection and say nothing cost a bounded time and a bounded number of connections.
func TestCheckDoesNotWaitForEveryMuteProxy(t *testing.T) {
	f := &facts{namespace: "tulle", now: time.Now()}
	for i := range 100 {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%03d", i), Namespace: "shop", UID: types.UID(fmt.Sprint(i))},
			Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}}},
			Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: mesh.ProxyContainer,
				Ready: true}}},
		}
		f.pods.value = &corev1.PodList{Items: append(podItems(f), *p)}
	}
	synctest.Test(t, func(t *testing.T) {
		var open, most atomic.Int32
		cl := &cluster.Client{DialPod: func(context.Context, string, string, int) (net.Conn, error) {
			near, far := net.Pipe()
			most.Store(max(most.Load(), open.Add(1)))
			return &countedConn{Conn: near, closed: func() { open.Add(-1); _ = far.Close() }}, nil
		}}
		start := time.Now()
		f.links = askLinks(t.Context(), cl, f, nil)
		if took := time.Since(start); took != askProxies || most.Load() > askedAtOnce {
			t.Errorf("took %v with %d connections at once; want %v and at most %d", took, most.Load(), askProxies, askedAtOnce)
		}
		err := askConnected(f)
		if err == nil || !strings.Contains(err.Error(), "100 of 100 proxies could not be asked: shop/web-000, ") ||
			!strings.Contains(err.Error(), "and 90 more\n") {
			t.Errorf("got %v; want how many could not be asked", err)
		}
		if last := f.links["99"].err; last == nil || last.Error() != "not asked within 20s" {
			t.Errorf("of the last one: %v; want that time was up", last)
		}
	})
}

func podItems(f *facts) []corev1.Pod {
	if f.pods.value == nil {
		return nil
	}
	return f.pods.value.Items
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
