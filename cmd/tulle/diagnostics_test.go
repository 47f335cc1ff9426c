package main

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// shop adds Services in front of the two pods of the healthy cluster: web, with a ClusterIP, and db, headless.
func shop(t *testing.T) *fakeCluster {
	t.Helper()
	f := healthyCluster(t)
	find[*corev1.Pod](t, f, "web-1").Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady,
		Status: corev1.ConditionTrue}}
	ready, port, name := true, int32(8080), "http"
	for _, svc := range []*corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
			Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop"},
			Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "out", Namespace: "shop"},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}},
	} {
		svc.Spec.Selector = map[string]string{"app": "web"}
		svc.Spec.Ports = []corev1.ServicePort{{Name: name, Port: 80, Protocol: corev1.ProtocolTCP}}
		f.objects = append(f.objects, svc, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: svc.Name + "-1", Namespace: "shop",
				Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.244.0.11"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
					TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-1", Namespace: "shop"}},
				{Addresses: []string{"10.244.0.12"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
					TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-2", Namespace: "shop"}},
			},
		})
	}
	f.objects = append(f.objects, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	})
	return f
}

func TestDiagnosticsEndpoints(t *testing.T) {
	f := shop(t)
	for name, test := range map[string]struct {
		args []string
		want string // in stdout, or in stderr where code is 1
		code int
	}{
		"a Service": {[]string{"web.shop.svc.cluster.local:80"},
			"NAMESPACE   IP            PORT   POD     SERVICE\nshop        10.244.0.11   8080   web-1   web.shop\nshop       " +
				" 10.244.0.12   8080   web-2   web.shop\n", 0},
		"a short name":     {[]string{"web.shop:80"}, "10.244.0.12   8080   web-2   web.shop", 0},
		"an absolute name": {[]string{"web.shop.svc.cluster.local.:80"}, "web-1", 0},
		"without a port":   {[]string{"web.shop"}, "web-1", 0},
		"a headless Service": {[]string{"db.shop:80"},
			"shop        10.244.0.11   8080   web-1   db.shop\nshop        10.244.0.12   8080   web-2   db.shop\n", 0},
		"a port too many":   {[]string{"web.shop:81"}, "Service web.shop has no port 81; proxies refuse it", 1},
		"no such Service":   {[]string{"nothing.shop:80"}, "there is no Service nothing in namespace shop", 1},
		"an external name":  {[]string{"out.shop:80"}, "leads to example.org", 1},
		"a bare word":       {[]string{"web"}, "want name.namespace.svc.cluster.local:port", 1},
		"an unknown client": {[]string{"--from", "shop/nobody", "web.shop"}, "no such pod runs", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, f.connect, "", append([]string{"diagnostics", "endpoints"}, test.args...)...)
			got := r.out
			if test.code == 1 {
				got = r.err
			}
			if r.code != test.code || !strings.Contains(got, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", r.code, r.out, r.err, test.code, test.want)
			}
		})
	}
}

func TestDiagnosticsEndpointsJSONHasIdentities(t *testing.T) {
	f := shop(t)
	r := runCLI(t, f.connect, "", "diagnostics", "endpoints", "-o", "json", "web.shop:80")
	var rows []explain.Endpoint
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil {
		t.Fatalf("%v in %q", err, r.out)
	}
	if len(rows) != 2 || rows[0].Identity != "spiffe://cluster.local/ns/shop/sa/default" {
		t.Errorf("got %+v; want two meshed endpoints", rows)
	}
}

// serveMetrics lets a pod's port answer as an admin server would.
func serveMetrics(t *testing.T, f *fakeCluster, podPort, text string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	if f.ports == nil {
		f.ports = map[string]string{}
	}
	f.ports[podPort] = server.Listener.Addr().String()
}

func TestDiagnosticsMetrics(t *testing.T) {
	f := shop(t)
	serveMetrics(t, f, "web-1:4191", "request_total 1\n")
	serveMetrics(t, f, "web-2:4191", "request_total 2\n")
	want := "#\n# POD web-1 (1 of 2)\n#\nrequest_total 1\n#\n# POD web-2 (2 of 2)\n#\nrequest_total 2\n"
	for _, resource := range [][]string{{"deploy/web"}, {"deployment", "web"}, {"svc/web"}, {"ns/shop"}} {
		r := runCLI(t, f.connect, "", append([]string{"-n", "shop", "diagnostics", "proxy-metrics"}, resource...)...)
		if r.code != 0 || r.out != want {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %q", resource, r.code, r.out, r.err, want)
		}
	}
	serveMetrics(t, f, "tulle-identity-0:9990", "identity 1\n")
	serveMetrics(t, f, "tulle-destination-0:9996", "destination 1\n")
	r := runCLI(t, f.connect, "", "diagnostics", "controller-metrics")
	if r.code != 1 || !strings.Contains(r.out, "# POD tulle-identity-0 (2 of 3)\n#\nidentity 1\n") ||
		!strings.Contains(r.err, "pod tulle/tulle-proxy-injector-0: read metrics: ") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want what answers, and an error about what does not", r.code, r.out,
			r.err)
	}
}

func TestResourcesThatAreNot(t *testing.T) {
	f := shop(t)
	for arg, want := range map[string]string{
		"web":         "want kind/name",
		"cm/web":      "not a kind that has pods",
		"deploy/none": `"none" not found`,
		"po/none":     "no pod none runs in namespace shop",
	} {
		if r := runCLI(t, f.connect, "", "-n", "shop", "diagnostics", "proxy-metrics", arg); r.code != 1 ||
			!strings.Contains(r.err, want) {
			t.Errorf("%s: exit code %d, stderr %q; want %q", arg, r.code, r.err, want)
		}
	}
}

// servePeer lets a pod's port present a certificate as its proxy would, and ask for one that it does not get.
func servePeer(t *testing.T, f *fakeCluster, podPort string, config *tls.Config) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = tls.Server(conn, config).HandshakeContext(t.Context())
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = lis.Close()
		<-done
	})
	if f.ports == nil {
		f.ports = map[string]string{}
	}
	f.ports[podPort] = lis.Addr().String()
}

func TestIdentityPrintsWhatAProxyPresents(t *testing.T) {
	f := shop(t)
	authority := meshtest.NewCA(t)
	id := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	servePeer(t, f, "web-1:4143", authority.Certs(id).ServerTLS(mesh.ALPNMux, mesh.ALPNRelay))
	const uri = "URI:spiffe://cluster.local/ns/shop/sa/web"
	r := runCLI(t, f.connect, "", "-n", "shop", "identity", "web-1")
	if r.code != 0 || !strings.Contains(r.out, "POD web-1 (1 of 1)") || !strings.Contains(r.out, uri) ||
		!strings.Contains(r.out, "Public Key Algorithm: ECDSA P-256") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want web's certificate", r.code, r.out, r.err)
	}
	for _, resource := range [][]string{{"pod/web-1"}, {"po", "web-1"}, {"deploy/web"}, {"deploy", "web"}} {
		r := runCLI(t, f.connect, "", append([]string{"-n", "shop", "identity"}, resource...)...)
		if !strings.Contains(r.out, "POD web-1 (1 of ") || !strings.Contains(r.out, uri) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want web's certificate", resource, r.code, r.out, r.err)
		}
	}
	for want, args := range map[string][]string{
		"not both":                  {"deploy/web", "-l", "app=web"},
		`"node" is not a kind that`: {"node/web"},
		"no pod web runs in namespace shop; a workload needs its kind, such as deploy/web": {"web"},
		`deployments.apps "gone" not found in namespace shop; -n names another`:            {"deploy/gone"},
	} {
		if r := runCLI(t, f.connect, "", append([]string{"-n", "shop", "identity"}, args...)...); r.code != 1 ||
			!strings.Contains(r.err, want) {
			t.Errorf("%v: exit code %d, stderr %q; want %q", args, r.code, r.err, want)
		}
	}
	r = runCLI(t, f.connect, "", "-n", "shop", "identity", "-l", "app=web")
	if r.code != 1 || !strings.Contains(r.out, uri) || !strings.Contains(r.err, "pod shop/web-2: nothing listens") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want one certificate and one error", r.code, r.out, r.err)
	}
	if r := runCLI(t, f.connect, "", "identity"); r.code != 1 || !strings.Contains(r.err, "name a pod") {
		t.Errorf("without a pod: exit code %d, stderr %q", r.code, r.err)
	}
}

func TestNoInstallationIsSaid(t *testing.T) {
	for _, args := range [][]string{{"diagnostics", "endpoints", "web.shop:80"},
		{"diagnostics", "profile", "web.shop:80"}} {
		r := runCLI(t, emptyCluster().connect, "", args...)
		if r.code != 1 || !strings.Contains(r.err, "no installation in namespace tulle; -L names another") {
			t.Errorf("%v: exit code %d, stderr %q", args, r.code, r.err)
		}
	}
}
