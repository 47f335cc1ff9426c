package learn

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/crds/crdtest"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func config(policy mesh.AccessPolicy) model.Config {
	return model.Config{TrustDomain: "cluster.local", ClusterDomain: "cluster.local", ControlPlaneNamespace: "tulle",
		DefaultPolicy: policy}
}

// pod returns a running pod of a Deployment, as the injector leaves it. Its ServiceAccount has the Deployment's name.
func pod(namespace, deployment, name, ip string) *corev1.Pod {
	var owners []metav1.OwnerReference
	labels := map[string]string{"app": deployment, "tier": "all", mesh.ControlPlaneNSLabel: "tulle"}
	if deployment != "" {
		labels[podowner.LabelPrefix+"deployment"] = deployment
		owners = replicaSet(deployment)
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), Labels: labels,
			OwnerReferences: owners},
		Spec: corev1.PodSpec{
			ServiceAccountName: deployment,
			InitContainers:     []corev1.Container{{Name: mesh.ProxyContainer}},
			Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080},
				{Name: "admin", ContainerPort: 9090}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}},
	}
}

// replicaSet returns the owner references of a pod whose ReplicaSet the named workload made.
func replicaSet(of string) []metav1.OwnerReference {
	controller := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: of + "-5d8f",
		Controller: &controller}}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// events returns the events of objects of Go and of manifests.
func events(t *testing.T, text string, objects ...metav1.Object) []model.Event {
	t.Helper()
	var out []model.Event
	for _, o := range objects {
		out = append(out, model.Event{Object: o})
	}
	for i, o := range parse(t, text) {
		k, ok := kindOf(o)
		if !ok {
			t.Fatalf("%s: not a kind of the mesh", o.Name())
		}
		typed, err := decode(o, k)
		if err != nil {
			t.Fatal(err)
		}
		typed.SetCreationTimestamp(metav1.NewTime(now.Add(time.Duration(i)*time.Second - time.Hour)))
		out = append(out, model.Event{Object: typed})
	}
	return out
}

// accepted returns the objects of a manifest, which the API server would accept. That takes a while to find out.
func accepted(t *testing.T, text string) []*manifest.Object {
	t.Helper()
	objects := parse(t, text)
	for _, o := range objects {
		if err := crdtest.Validate(o.Tree); err != nil {
			text, _ := yaml.Marshal(o.Tree)
			t.Fatalf("the API server refuses it: %v\n%s", err, text)
		}
	}
	return objects
}

// parse returns the objects of a manifest.
func parse(t *testing.T, text string) []*manifest.Object {
	t.Helper()
	if !strings.Contains(text, "\nkind: ") {
		return nil
	}
	objects, err := manifest.Sources{Stdin: strings.NewReader(text)}.Objects(t.Context(), []string{"-"})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func id(namespace, account string) mesh.ID {
	return mesh.ID{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: account}
}

// written returns the policies as YAML.
func written(t *testing.T, p Policies) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.Write(&out, "Policies."); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// allows reports whether the proxy of a pod allows a client a request under a route, or with no route any request.
func allows(t *testing.T, w *World, p *corev1.Pod, port uint16, route mesh.Ref, client mesh.ID) bool {
	t.Helper()
	proxy := w.proxyOf(p)
	peer, part := authz.Peer{ID: client}, authz.Whole
	if routes := proxy.inbound.Port(port).Routes; len(routes) > 0 {
		i := routeIndex(routes, route)
		if i < 0 {
			t.Fatalf("%s port %d has no route %v", p.Name, port, route)
		}
		part = authz.Part(i)
	}
	return proxy.port(port).DecidePart(peer, part).Allow
}

func httpRoute(name string, servers ...string) string {
	text := fmt.Sprintf(`---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: shop}
spec:
  rules:
  - matches: [{path: {type: PathPrefix, value: /%s}}]
  parentRefs:
`, name, name)
	for _, s := range servers {
		text += fmt.Sprintf("  - {group: policy.linkerd.io, kind: Server, name: %s}\n", s)
	}
	return text
}

func server(name, labels string, port int, access mesh.AccessPolicy) string {
	return fmt.Sprintf(`---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: %s, namespace: shop}
spec: {podSelector: {matchLabels: {%s}}, port: %d, accessPolicy: %s}
`, name, labels, port, access)
}
