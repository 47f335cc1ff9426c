package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
)

// linkMetrics is what the metrics of a proxy say about its stream.
func linkMetrics(connected, values int, stale float64) string {
	return fmt.Sprintf(`# TYPE request_total counter
request_total{authority="a b {control_connected} 1"} 3
# TYPE control_connected gauge
control_connected{addr="tulle-destination.tulle.svc:8086"} %d
control_connect_failures_total{addr="tulle-destination.tulle.svc:8086"} 4
control_response_total{addr="tulle-identity.tulle.svc:8080",classification="success"} 2
tulle_control_values_total{addr="tulle-destination.tulle.svc:8086",result="ok"} %d
tulle_control_values_total{addr="tulle-destination.tulle.svc:8086",result="refused"} 0
tulle_control_stale_seconds %v
`, connected, values, stale)
}

const connectedCheck = "data plane proxies are connected to the control plane"

func TestCheckFindsProxiesWithoutControlPlane(t *testing.T) {
	mute := func(f *fakeCluster, pod string) { delete(f.ports, pod+":4191") }
	for name, test := range map[string]struct {
		damage func(*testing.T, *fakeCluster)
		code   int
		want   []string
	}{
		"one that lost it": {func(t *testing.T, f *fakeCluster) {
			serveMetrics(t, f, "web-2:4191", linkMetrics(0, 7, 184.4))
		}, 1, []string{
			"× " + connectedCheck + "\n    shop/web-2: not connected for 3m4s\n    they serve what they last heard",
			"changes do not reach them; for the reason: " +
				"kubectl logs -n shop web-2 -c tulle-proxy | grep 'destination controller lost'\n",
		}},
		"one that never had it": {func(t *testing.T, f *fakeCluster) {
			serveMetrics(t, f, "web-1:4191", linkMetrics(0, 0, 61))
		}, 1, []string{"shop/web-1: never connected, 1m1s after it started\n"}},
		"one that lost it and one that does not answer": {func(t *testing.T, f *fakeCluster) {
			serveMetrics(t, f, "web-1:4191", linkMetrics(0, 7, 9))
			mute(f, "web-2")
		}, 1, []string{"shop/web-1: not connected for 9s\n    1 of 2 proxies could not be asked: shop/web-2\n    " +
			"shop/web-2: read metrics: nothing listens"}},
		"only such that do not answer": {func(_ *testing.T, f *fakeCluster) {
			mute(f, "web-1")
			mute(f, "web-2")
		}, 0, []string{"‼ " + connectedCheck +
			"\n    2 of 2 proxies could not be asked: shop/web-1, shop/web-2\n    shop/web-1: read metrics: nothing listens"}},
		"one of a release without the metric": {func(t *testing.T, f *fakeCluster) {
			serveMetrics(t, f, "web-1:4191", "request_total 1\n")
		}, 0, []string{"‼ " + connectedCheck, "shop/web-1: its metrics lack control_connected"}},
		"one that is not there yet, which is another check's": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-1").Status.InitContainerStatuses[0].Ready = false
			mute(f, "web-1")
		}, 1, []string{"√ " + connectedCheck, "shop/web-1: proxy is not ready"}},
		"one that is alive, though not ready": {func(t *testing.T, f *fakeCluster) {
			status := &find[*corev1.Pod](t, f, "web-1").Status.InitContainerStatuses[0]
			status.Ready, status.State.Running = false, &corev1.ContainerStateRunning{}
			serveMetrics(t, f, "web-1:4191", linkMetrics(0, 0, 5))
		}, 1, []string{"shop/web-1: never connected, 5s after it started"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			test.damage(t, f)
			r := runCLI(t, f.connect, "", "-n", "shop", "check", "--proxy", "--wait=0s")
			for _, want := range test.want {
				if r.code != test.code || !strings.Contains(r.out, want) {
					t.Errorf("exit code %d, want %d and %q:\n%s", r.code, test.code, want, r.out)
				}
			}
		})
	}
}

func TestCheckAsksOnlyTheProxiesOfItsNamespace(t *testing.T) {
	f := healthyCluster(t)
	serveMetrics(t, f, "web-1:4191", linkMetrics(0, 7, 9))
	if r := runCLI(t, f.connect, "", "-n", "default", "check", "--proxy", "--wait=0s", "-o",
		"short"); strings.Contains(r.out, "not connected") {
		t.Errorf("check of another namespace names shop:\n%s", r.out)
	}
}

func TestCheckTellsScriptsOfProxiesWithoutControlPlane(t *testing.T) {
	f := healthyCluster(t)
	serveMetrics(t, f, "web-1:4191", linkMetrics(0, 7, 9))
	r := runCLI(t, f.connect, "", "check", "--proxy", "--wait=0s", "-o", "json")
	var doc struct {
		Categories []struct {
			Checks []struct{ Description, Error, Hint, Result string }
		}
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatal(err)
	}
	for _, cat := range doc.Categories {
		for _, ch := range cat.Checks {
			if ch.Description == connectedCheck {
				if ch.Result != "error" || !strings.HasPrefix(ch.Error, "shop/web-1: not connected for 9s\n") ||
					!strings.HasSuffix(ch.Hint, "#l5d-data-plane-connected") {
					t.Errorf("got %+v", ch)
				}
				return
			}
		}
	}
	t.Errorf("no such check in %s", r.out)
}

// A destination controller that is replaced leaves proxies alone for seconds: --wait is for that.
func TestCheckWaitsForProxiesToConnect(t *testing.T) {
	f := healthyCluster(t)
	serveMetrics(t, f, "web-1:4191", linkMetrics(0, 7, 1))
	asked := 0
	connect := func(flags globalFlags) (*cluster.Client, error) {
		switch asked++; asked {
		case 2:
			serveMetrics(t, f, "web-1:4191", linkMetrics(1, 8, 0))
			// Who was connected a moment ago is not asked again.
			delete(f.ports, "web-2:4191")
		}
		return f.connect(flags)
	}
	r := runCLI(t, connect, "", "check", "--proxy", "--wait=1m")
	if r.code != 0 || asked != 2 ||
		!strings.HasPrefix(r.err, "waiting: "+connectedCheck+": shop/web-1: not connected for 1s; ") ||
		!strings.HasSuffix(r.err, "for the reason: kubectl logs -n shop web-1 -c tulle-proxy | "+
			"grep 'destination controller lost'\n") || strings.Count(r.err, "\n") != 1 ||
		!strings.Contains(r.out, "√ "+connectedCheck) {
		t.Errorf("exit code %d after %d readings, stderr %q; want 0 after 2 and a word about web-1:\n%s", r.code, asked,
			r.err, r.out)
	}
}

// How long a proxy has been without the control plane is another time in every round, and no news.
func TestCheckTellsOnceOfAProxyWithoutControlPlane(t *testing.T) {
	f := healthyCluster(t)
	asked := 0
	connect := func(flags globalFlags) (*cluster.Client, error) {
		asked++
		serveMetrics(t, f, "web-1:4191", linkMetrics(0, 7, float64(58+2*asked)))
		return f.connect(flags)
	}
	r := runCLI(t, connect, "", "check", "--proxy", "--wait=10s")
	if lines := strings.Count(r.err, "waiting: "); r.code != 1 || asked < 3 || lines != 1 {
		t.Errorf("exit code %d; %d readings said %q", r.code, asked, r.err)
	}
}
