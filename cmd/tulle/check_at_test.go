package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/cli/forecast"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestCheckAt reads everything that ends from the cluster. What follows from each end is tested in cli/forecast.
func TestCheckAt(t *testing.T) {
	f := healthyCluster(t)
	serveMetrics(t, f, "web-1:4191", linkMetrics(1, 7, 0)+
		"control_identity_cert_refresh_timestamp_seconds "+unix(time.Now().Add(-time.Hour))+"\n"+
		"control_identity_cert_expiration_timestamp_seconds "+unix(time.Now().Add(23*time.Hour))+"\n")
	f.untyped = append(f.untyped, dated("HTTPRoute", "gateway.networking.k8s.io/v1", "fault.tulle.dev/until"),
		dated("AuthorizationPolicy", "policy.linkerd.io/v1alpha1", "policy.tulle.dev/expires-at"))
	f.objects = append(f.objects, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: mesh.AnchorSecret, Namespace: "tulle"}})
	r := runCLI(t, f.connect, "", "check", "--proxy", "--at", "+400d", "-o", "json")
	var doc forecast.Forecast
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("%v in %s%s", err, r.out, r.err)
	}
	var got []string
	for _, i := range doc.Items {
		got = append(got, strings.Join([]string{i.Kind, string(i.State), string(i.Result)}, "/"))
	}
	want := "trust anchor/valid/success issuer/ended/error webhook certificate/renewed/success " +
		"certificates of proxies/ended/error certificates of proxies/not known/warning AuthorizationPolicy/ignored/warning " +
		"HTTPRoute/ended/success"
	if text := strings.Join(got, " "); r.code != 1 || text != want {
		t.Errorf("exit code %d, want 1; got  %s\nwant %s", r.code, text, want)
	}
	if b := doc.FirstBreak; b == nil || len(b.Hit) != 1 || b.Hit[0] != (forecast.Hit{Namespace: "shop",
		Workload: "deployment/web", Pods: 2}) {
		t.Errorf("first break %+v; want both pods of deployment/web", b)
	}
	if r := runCLI(t, f.connect, "", "check", "--at", "+1h"); r.code != 0 || !strings.Contains(r.out, "First break: ") {
		t.Errorf("exit code %d, want 0 and the first break, in\n%s%s", r.code, r.out, r.err)
	}
}

// TestCheckAtWithoutRights: what may not be read is an error, and the rest is said.
func TestCheckAtWithoutRights(t *testing.T) {
	f := healthyCluster(t)
	f.mayNotLook = []string{"secrets"}
	r := runCLI(t, f.connect, "", "check", "--at", "+1h")
	for _, want := range []string{"× issuer", "you may not look", "√ trust anchor"} {
		if r.code != 1 || !strings.Contains(r.out, want) {
			t.Errorf("exit code %d, want 1 and %q in\n%s%s", r.code, want, r.out, r.err)
		}
	}
}

func TestCheckAtRefusesOtherInstants(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--at", "30d"}, "did you mean +30d?; want +30d, +2w, +12h"},
		{[]string{"--at", ""}, "want +30d"},
		{[]string{"--at", "2020-01-01"}, "is in the past"},
		{[]string{"--at", "+1d", "--pre"}, "[at pre]"},
		{[]string{"--at", "+1d", "-o", "yaml"}, "want table, json or short"},
	} {
		if r := runCLI(t, noCluster, "", append([]string{"check"}, test.args...)...); r.code != 1 ||
			!strings.Contains(r.err, test.want) {
			t.Errorf("%q: exit code %d, stderr %q; want 1 and %q", test.args, r.code, r.err, test.want)
		}
	}
}

func dated(kind, version, annotation string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind,
		"metadata": map[string]any{"name": "dated", "namespace": "shop", "annotations": map[string]any{
			annotation: time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}}}}
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
