package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testNamespace = mesh.ControlPlaneNamespace
	// deadline is how long a test waits for an expected event.
	deadline = 20 * time.Second
)

var (
	web    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	server = mesh.ID{TrustDomain: "cluster.local", Namespace: testNamespace, ServiceAccount: mesh.IdentityName}
)

// cluster is a fake API server whose tokens are "<namespace>/<service account>/<pod>".
type cluster struct {
	*fake.Clientset
	t       *testing.T
	reviews atomic.Int64 // number of token reviews
}

func newCluster(t *testing.T, objects ...runtime.Object) *cluster {
	t.Helper()
	for _, name := range []string{testNamespace, "default", "shop"} {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	c := &cluster{Clientset: fake.NewClientset(objects...), t: t}
	c.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authv1.TokenReview).DeepCopy()
		c.reviews.Add(1)
		parts := bytes.Split([]byte(review.Spec.Token), []byte("/"))
		if len(parts) != 3 {
			review.Status.Error = "invalid bearer token"
			return true, review, nil
		}
		review.Status = authv1.TokenReviewStatus{
			Authenticated: true,
			Audiences:     review.Spec.Audiences,
			User: authv1.UserInfo{
				Username: "system:serviceaccount:" + string(parts[0]) + ":" + string(parts[1]),
				Extra:    map[string]authv1.ExtraValue{podExtra: {string(parts[2])}, uidExtra: {"uid-" + string(parts[2])}},
			},
		}
		return true, review, nil
	})
	return c
}

func (c *cluster) config(lis net.Listener) Config {
	return Config{
		Client: c.Clientset, Listener: lis, Namespace: testNamespace, Replica: "identity-0", TrustDomain: "cluster.local",
		Limits: DefaultLimits(), Log: zaptest.NewLogger(c.t, zaptest.Level(zap.InfoLevel)),
		Registry: prometheus.NewRegistry(),
	}
}

// start runs a controller until the test ends.
func (c *cluster) start(edit func(*Config)) *Controller {
	c.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := c.config(lis)
	if edit != nil {
		edit(&cfg)
	}
	controller, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	run(c.t, controller.Run)
	return controller
}

// run calls a Run method in a goroutine that ends with the test.
func run(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
}

// awaitRoots returns the bundle of a namespace as soon as ok accepts it.
func (c *cluster) awaitRoots(namespace string, ok func(roots []*x509.Certificate) bool) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	watching, err := c.CoreV1().ConfigMaps(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer watching.Stop()
	for {
		if cm, err := c.CoreV1().ConfigMaps(namespace).Get(ctx, mesh.TrustRootsConfigMap, metav1.GetOptions{}); err == nil {
			bundle := []byte(cm.Data[mesh.TrustRootsKey])
			if roots, err := mesh.ParseRoots(bundle); err == nil && ok(roots) {
				return bundle
			}
		}
		select {
		case <-watching.ResultChan():
		case <-ctx.Done():
			c.t.Fatalf("trust anchors of namespace %s did not become what was wanted", namespace)
		}
	}
}

// annotateRoots requests a new anchor.
func (c *cluster) annotateRoots(value string) {
	c.t.Helper()
	patch := []byte(`{"metadata":{"annotations":{"` + replaceAnnotation + `":"` + value + `"}}}`)
	maps := c.CoreV1().ConfigMaps(testNamespace)
	if _, err := maps.Patch(context.Background(), mesh.TrustRootsConfigMap, types.MergePatchType, patch,
		metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// expectEvent returns a function that waits for the next Event of a reason on the controller's Deployment.
func (c *cluster) expectEvent() func(reason string) {
	c.t.Helper()
	events, err := c.CoreV1().Events(testNamespace).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(events.Stop)
	return func(reason string) {
		c.t.Helper()
		for limit := time.After(deadline); ; {
			select {
			case e := <-events.ResultChan():
				if event, ok := e.Object.(*corev1.Event); ok && event.Reason == reason &&
					event.InvolvedObject.Name == mesh.IdentityName {
					return
				}
			case <-limit:
				c.t.Fatalf("no Event %s", reason)
			}
		}
	}
}

// awaitSecret returns a Secret of the control plane as soon as ok accepts it.
func (c *cluster) awaitSecret(name string, ok func(*corev1.Secret) bool) *corev1.Secret {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	watching, err := c.CoreV1().Secrets(testNamespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer watching.Stop()
	for {
		if s, err := c.CoreV1().Secrets(testNamespace).Get(ctx, name, metav1.GetOptions{}); err == nil && ok(s) {
			return s
		}
		select {
		case <-watching.ResultChan():
		case <-ctx.Done():
			c.t.Fatalf("Secret %s did not become what was wanted", name)
		}
	}
}

func count(n int) func([]*x509.Certificate) bool {
	return func(roots []*x509.Certificate) bool { return len(roots) == n }
}

// awaitAuthority returns the authority as soon as ok accepts it.
func awaitAuthority(t *testing.T, c *Controller, ok func(*Authority) bool) *Authority {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var seen uint64
	for {
		a, seq, err := c.authority.Wait(ctx, seen)
		if err != nil {
			t.Fatal("the authority did not become what was wanted")
		}
		if seen = seq; ok(a) {
			return a
		}
	}
}

func awaitClosed(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(deadline):
		t.Fatalf("%s did not happen", what)
	}
}
