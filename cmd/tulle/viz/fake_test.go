package viz

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/routes"
)

// bed is a cluster in memory and the series of its proxies.
type bed struct {
	pods    []*corev1.Pod
	objects []*metav1.PartialObjectMetadata
	source  *metricstest.Source
	// from takes the place of source.
	from metrics.Source
	// dial connects to a port of a pod. If it is given, the command chooses the source.
	dial func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
	// prometheusTimeout bounds the wait for the Prometheus of --prometheusURL.
	prometheusTimeout time.Duration
	// noFlag leaves the namespace to the kubeconfig's context.
	noFlag bool
	// stdout takes the place of the buffer that result has.
	stdout io.Writer
	// browser takes the address that a command opens.
	browser func(address string) error
	// post is the client's Post.
	post func(ctx context.Context, path string, body []byte) (io.ReadCloser, error)
	// policies are what the proxies of pods receive, and routes those of Services, by namespace/name. notConfigured is why
	// they cannot be read.
	policies      map[string]*mesh.Inbound
	routes        map[string][]routes.Existing
	notConfigured error
	// react changes the clients.
	untyped []runtime.Object // of kinds that the typed client does not know
	react   func(typed *fake.Clientset, untyped *metadatafake.FakeMetadataClient)
}

// object returns an object's metadata; labels are key, value pairs.
func object(apiVersion, kind, namespace, name string, labels ...string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}}
	o.Namespace, o.Name, o.Labels = namespace, name, map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		o.Labels[labels[i]] = labels[i+1]
	}
	return o
}

// pod returns a pod of a ReplicaSet, meshed if version is not "".
func pod(namespace, deployment, suffix, version string) *corev1.Pod {
	controller := true
	p := &corev1.Pod{}
	p.Namespace, p.Name = namespace, deployment+"-5d8f7c-"+suffix
	p.Labels = map[string]string{"app": deployment, "pod-template-hash": "5d8f7c"}
	p.OwnerReferences = []metav1.OwnerReference{
		{Kind: "ReplicaSet", Name: deployment + "-5d8f7c", Controller: &controller}}
	p.Spec.ServiceAccountName = deployment
	p.Spec.Containers = []corev1.Container{{Name: "app"}}
	p.Status.Phase = corev1.PodRunning
	if version != "" {
		p.Spec.InitContainers = []corev1.Container{{Name: mesh.ProxyContainer, Env: []corev1.EnvVar{
			{Name: mesh.ProxyConfigEnv, Value: `{"tapID":"spiffe://cluster.local/ns/tulle-viz/sa/tap"}`}}}}
		p.Labels[mesh.ControlPlaneNSLabel] = "tulle"
		p.Annotations = map[string]string{mesh.ProxyVersionAnnotation: version}
	}
	return p
}

// result is what one run gave.
type result struct {
	out, err string
	fault    error
}

// run runs `viz` with the arguments.
func (b *bed) run(t *testing.T, namespace string, args ...string) result {
	t.Helper()
	return b.runIn(t.Context(), t, namespace, args...)
}

// runIn is run with a context that may end before the test.
func (b *bed) runIn(ctx context.Context, t *testing.T, namespace string, args ...string) result {
	t.Helper()
	known := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(known); err != nil {
		t.Fatal(err)
	}
	var metas, typed []runtime.Object
	for _, o := range b.objects {
		metas = append(metas, o.DeepCopy())
	}
	for _, p := range b.pods {
		typed = append(typed, p.DeepCopy())
	}
	client, untyped := fake.NewClientset(typed...), metadatafake.NewSimpleMetadataClient(known, metas...)
	dyn := fakedynamic.NewSimpleDynamicClient(runtime.NewScheme(), b.untyped...)
	if b.react != nil {
		b.react(client, untyped)
	}
	var out, stderr bytes.Buffer
	env := Env{
		Out: &out, Err: &stderr,
		Connect: func() (*cluster.Client, error) {
			return &cluster.Client{
				Interface: client, Metadata: untyped, Dynamic: dyn, DialPod: b.dial, Post: b.post, Namespace: namespace,
			}, nil
		},
		ControlNamespace: func() string { return "tulle" },
		Namespace: func() string {
			if b.noFlag {
				return ""
			}
			return namespace
		},
		PrometheusTimeout: b.prometheusTimeout,
		Configured: func(context.Context, *cluster.Client) (Configured, error) {
			return Configured{
				Inbound: func(namespace, pod string) *mesh.Inbound { return b.policies[namespace+"/"+pod] },
				Routes:  func(namespace, service string) []routes.Existing { return b.routes[namespace+"/"+service] },
			}, b.notConfigured
		},
	}
	env.OpenBrowser = b.browser
	if b.stdout != nil {
		env.Out = b.stdout
	}
	if b.dial == nil {
		env.Source = func(context.Context, *cluster.Client) (metrics.Source, error) {
			if b.from != nil {
				return b.from, nil
			}
			return b.source, nil
		}
	}
	cmd := New(env)
	cmd.PersistentFlags().StringP("namespace", "n", "", "")
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&stderr)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	fault := cmd.ExecuteContext(ctx)
	return result{out.String(), stderr.String(), fault}
}

// golden compares what a run wrote with a file of testdata; -update writes it.
func golden(t *testing.T, name string, r result) {
	t.Helper()
	if r.fault != nil {
		t.Fatal(r.fault)
	}
	got := "# stdout\n" + r.out + "# stderr\n" + r.err
	file := filepath.Join("testdata", name)
	goldentest.Equal(t, file, got)
}

// series reads the series of testdata.
func series(t *testing.T, extra ...string) *metricstest.Source {
	t.Helper()
	text, err := os.ReadFile("testdata/series.txt")
	if err != nil {
		t.Fatal(err)
	}
	source, err := metricstest.New(string(text) + strings.Join(extra, ""))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// shop is a namespace with a web Deployment that calls an api and a database without a proxy.
func shop(t *testing.T) *bed {
	t.Helper()
	b := &bed{source: series(t), pods: []*corev1.Pod{
		pod("shop", "web", "a", "v1"), pod("shop", "web", "b", ""), pod("shop", "api", "a", "v0"),
		pod("shop", "plain", "a", ""), pod("other", "web", "a", "v1"),
	}}
	control := &corev1.Pod{}
	control.Namespace, control.Name = "tulle", "tulle-identity-1"
	control.Labels = map[string]string{mesh.ControlPlaneComponentLabel: "identity", mesh.VersionLabel: "v1"}
	b.pods = append(b.pods, control)
	for _, ns := range []string{"shop", "other", "tulle", "empty"} {
		b.objects = append(b.objects, object("v1", "Namespace", "", ns))
	}
	for _, name := range []string{"web", "api", "plain"} {
		b.objects = append(b.objects, object("apps/v1", "Deployment", "shop", name, "app", name),
			object("apps/v1", "ReplicaSet", "shop", name+"-5d8f7c"), object("v1", "Service", "shop", name))
	}
	b.objects = append(b.objects, object("apps/v1", "Deployment", "other", "web"),
		object("policy.linkerd.io/v1beta3", "Server", "shop", "api-http"),
		object("policy.linkerd.io/v1alpha1", "AuthorizationPolicy", "shop", "web-only"),
		object("policy.linkerd.io/v1beta1", "ServerAuthorization", "shop", "old"),
		object("policy.linkerd.io/v1beta3", "HTTPRoute", "shop", "api-get"),
		object("gateway.networking.k8s.io/v1", "HTTPRoute", "shop", "canary"))
	return b
}

// forbid makes every list of a resource fail as the API server does.
func forbid(reaction *clienttesting.Fake, resource string, err error) {
	reaction.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, err
	})
}
