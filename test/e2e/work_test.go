package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// workNS holds the workers: applications that count what they get, and fail and dawdle when told to.
const workNS = "work"

// workers are deployed with the first test that needs them: two versions of web, and five links of a chain of calls.
var deployWorkers = sync.OnceValue(func() error {
	var all strings.Builder
	fmt.Fprintf(&all, `
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  annotations: {linkerd.io/inject: enabled}
`, workNS)
	all.WriteString(worker("web-v1", 2, "") + worker("web-v2", 1, ""))
	all.WriteString(service("web", "web-v1")) // as long as no route says otherwise
	for link := 1; link <= links; link++ {
		next := ""
		if link < links {
			next = fmt.Sprintf("http://link-%d.%s/work", link+1, workNS)
		}
		all.WriteString(worker(fmt.Sprint("link-", link), 1, next))
	}
	if _, err := kubectlIn([]byte(all.String()), "apply", "-f", "-"); err != nil {
		return err
	}
	_, err := kubectl("-n", workNS, "rollout", "status", "deployment", "--timeout=180s")
	return err
})

const links = 5

func needWorkers(t *testing.T) {
	t.Helper()
	if err := deployWorkers(); err != nil {
		t.Fatal(err)
	}
}

// worker is a Deployment and its Service.
func worker(name string, replicas int, next string) string {
	return service(name, name) + fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations: {mesh-version: "%[4]s"}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: %[5]s
        imagePullPolicy: IfNotPresent
        args: [serve, "-next=%[6]s"]
        resources: {requests: {cpu: 20m}}
        readinessProbe: {httpGet: {path: "/status?code=200", port: 8080}, periodSeconds: 1}
`, name, workNS, replicas, env.version, env.appImage, next)
}

func service(name, app string) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec:
  selector: {app: %s}
  ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]
`, name, workNS, app)
}

func workURL(host, path string) string { return "http://" + host + "." + workNS + path }

// worked mirrors what a worker counted.
type worked struct{ Received, Failed, Abandoned int }

// count takes the count of the one pod of a Service, which begins anew with that.
func count(t *testing.T, service string) worked {
	t.Helper()
	a := meshed.http(t, "-url", workURL(service, "/worked"))
	if a.Status != 200 {
		t.Fatalf("the counts of %s: %+v", service, a)
	}
	return decode[worked](t, []byte(a.Body))
}

// behave tells the one pod behind a host how to behave, until the test ends.
func behave(t *testing.T, host, query string) {
	t.Helper()
	tell := func(query string) error {
		out, err := meshed.app("http", "-url", "http://"+host+"/behave?"+query)
		if err == nil && !strings.Contains(string(out), `"status":204`) {
			err = fmt.Errorf("%s did not listen: %s", host, out)
		}
		return err
	}
	// After an outage of the control plane a proxy may have to wait for what it has not asked for before.
	eventually(t, 20*time.Second, func() error { return tell(query) })
	t.Cleanup(func() {
		if err := tell(""); err != nil {
			t.Error(err)
		}
	})
}

// work sends requests to /work of a host at a rate and returns what became of them.
func work(t *testing.T, host string, count, rate int, args ...string) load {
	t.Helper()
	return decode[load](t, meshed.mustApp(t, append([]string{"load"}, loadOf(host, count, rate, args...)...)...))
}

func loadOf(host string, count, rate int, args ...string) []string {
	return append([]string{"-url", workURL(host, "/work"), "-count", fmt.Sprint(count), "-rate", fmt.Sprint(rate)},
		args...)
}

// of returns how many answers came from the pods of a deployment.
func (l load) of(deployment string) int {
	n := 0
	for pod, answers := range l.Pods {
		if strings.HasPrefix(pod, deployment+"-") {
			n += answers
		}
	}
	return n
}

// applyRoute applies a route of workNS and returns when its status says that it holds.
func applyRoute(t *testing.T, name, manifest string) {
	t.Helper()
	apply(t, manifest)
	awaitCondition(t, 10*time.Second, workNS, name, "Accepted", "True")
	awaitCondition(t, 10*time.Second, workNS, name, "ResolvedRefs", "True")
}

// awaitWork sends few requests again and again until their answers are as wanted: a route's status runs ahead of its
// way to the proxies.
func awaitWork(t *testing.T, host string, want func(load) bool, args ...string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		got := work(t, host, 20, 100, args...)
		if !want(got) {
			return fmt.Errorf("got %+v", got)
		}
		return nil
	})
}
