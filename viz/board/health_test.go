package board

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// healthPodsOf is a lister of pods with a proxy, by namespace/name, and its version.
type healthPodsOf map[string]string

// List implements resource.Lister.
func (h healthPodsOf) List(_ context.Context, k resource.Kind, namespace, _ string) (out []resource.Object, err error) {
	if h == nil {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: k.Plural}, "", errors.New("no right"))
	}
	for key, version := range h {
		in, name, _ := strings.Cut(key, "/")
		if k.Name == "pod" && (namespace == "" || namespace == in) {
			out = append(out, resource.Object{Namespace: in, Name: name,
				Pods: []resource.Pod{{Name: name, Meshed: true, Version: version}}})
		}
	}
	return out, nil
}

func healthSources(t *testing.T, pods healthPodsOf, series string) Sources {
	t.Helper()
	source, err := metricstest.New(series)
	if err != nil {
		t.Fatal(err)
	}
	control := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: "destination-1",
		Labels: map[string]string{mesh.ControlPlaneComponentLabel: "destination", mesh.VersionLabel: "v2"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{RestartCount: 3,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}}}
	return Sources{Numbers: source, Objects: pods, Client: &cluster.Client{Interface: fake.NewClientset(control)},
		ControlNamespace: "tulle", Version: "v2"}
}

func TestHealth(t *testing.T) {
	s := healthSources(t, healthPodsOf{"shop/web-1": "v2", "shop/api-1": "v1", "shop/api-2": "v2"},
		`control_connected{namespace="shop",pod="web-1"} 1
control_connected{namespace="shop",pod="api-1"} 0
control_connected{namespace="shop",pod="api-2"} 0
control_connected{namespace="secret",pod="hidden-1"} 0
tulle_control_stale_seconds{namespace="shop",pod="api-1"} 40
tulle_control_stale_seconds{namespace="shop",pod="api-2"} 600
`)
	page, err := Health(t.Context(), s, Query{Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := HealthPage{Head: Head{At: page.At, Window: "1m", Notes: []string{}}, Certificates: []HealthCertificate{},
		ControlPlane: []ControlPod{{Namespace: "tulle", Component: "destination", Name: "destination-1", Version: "v2",
			Status: "CrashLoopBackOff", Restarts: 3}},
		Versions: []ProxyVersion{{"v2", 2, true}, {"v1", 1, false}},
		Outdated: []ProxyPod{{Namespace: "shop", Name: "api-1", Version: "v1"}},
		CutOff: []ProxyPod{{Namespace: "shop", Name: "api-2", Version: "v2", Stale: 600},
			{Namespace: "shop", Name: "api-1", Version: "v1", Stale: 40}}}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// refusingSource answers no question, as an older metrics-api that does not know a metric.
type refusingSource struct{ metrics.Source }

// Ask implements metrics.Source.
func (refusingSource) Ask(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
	return metrics.Answer{}, errors.New("metric control_connected: not allowed")
}

// TestHealthWithoutRights: the page says what is missing, and shows the rest.
func TestHealthWithoutRights(t *testing.T) {
	s := healthSources(t, nil, "")
	page, err := Health(t.Context(), s, Query{Window: time.Minute})
	if err != nil || len(page.ControlPlane) != 1 || page.Versions != nil || page.CutOff != nil ||
		len(page.Notes) != 1 {
		t.Errorf("without the right to list pods: got %+v, error %v", page, err)
	}
	s = healthSources(t, healthPodsOf{"shop/web-1": "v2"}, "")
	if page, err = Health(t.Context(), s, Query{Window: time.Minute}); err != nil || page.CutOff != nil ||
		len(page.Notes) != 1 {
		t.Errorf("without a series of any proxy: got %+v, error %v", page, err)
	}
	s.Numbers = refusingSource{}
	page, err = Health(t.Context(), s, Query{Window: time.Minute})
	if err != nil || len(page.Versions) != 1 || page.CutOff != nil || len(page.Notes) != 1 {
		t.Errorf("without metrics: got %+v, error %v", page, err)
	}
}

// TestChecksAreAskedInTheBackground: the first page has no answers, the next has those of one reading.
func TestChecksAreAskedInTheBackground(t *testing.T) {
	s := healthSources(t, healthPodsOf{}, "")
	s.Checks = &Checks{}
	ctx, cancel := context.WithCancel(t.Context())
	page, err := Health(ctx, s, Query{Window: time.Minute})
	if err != nil || page.Checks != nil || page.Checking == nil {
		t.Errorf("at first: got checks %v, checking %v, error %v", page.Checks, page.Checking, err)
	}
	cancel() // the viewer leaves
	s.Checks.running.Wait()
	page, err = Health(t.Context(), s, Query{Window: time.Minute})
	if err != nil || page.Checks == nil || page.Checking != nil || page.Checks.Errors == 0 {
		t.Fatalf("then: got checks %+v, checking %v, error %v", page.Checks, page.Checking, err)
	}
	failed := page.Checks.Groups[len(page.Checks.Groups)-1].Checks
	if last := failed[len(failed)-1]; last.Message == "" || !strings.Contains(last.Hint, "checks.md#") {
		t.Errorf("the last check has no message or no hint: %+v", last)
	}
	again, err := Health(t.Context(), s, Query{Window: time.Minute})
	if err != nil || again.Checks != page.Checks || again.Checking != nil {
		t.Errorf("soon after: the checks were asked again, error %v", err)
	}
	s.Checks.latest = &HealthChecks{At: time.Now().Add(-time.Hour)}
	if old, err := Health(t.Context(), s, Query{Window: time.Minute}); err != nil || old.Checks == nil ||
		old.Checking == nil {
		t.Errorf("when they are old: got checks %v, checking %v, error %v", old.Checks, old.Checking, err)
	}
	s.Checks.running.Wait()
}

func TestHealthCertificates(t *testing.T) {
	from, to := time.Unix(0, 0).UTC(), time.Unix(1e9, 0).UTC()
	got := healthCertificates([]check.Certificate{
		{Part: check.TrustAnchor, Name: "root", Serial: "1f", From: from, To: to},
		{Part: check.Issuer, Err: errors.New("you may not look")}})
	want := []HealthCertificate{{Part: "trust anchor", Name: "root", Serial: "1f", From: &from, To: &to},
		{Part: "issuer", Error: "you may not look"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
