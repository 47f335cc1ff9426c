package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestNeighbourCannotUseAPod: a pod on the same node, with the capabilities that containers have by default, puts
// packets for other destinations before a meshed pod.
func TestNeighbourCannotUseAPod(t *testing.T) {
	pods := strings.Fields(mustKubectl(t, "-n", appNS, "get", "pods", "-l", "app=server", "-o",
		`jsonpath={range .items[*]}{.spec.nodeName}/{.status.podIP}{"\n"}{end}`))
	if len(pods) < 2 {
		t.Fatalf("pods are %v, want two", pods)
	}
	nodeName, victim, _ := strings.Cut(pods[0], "/")
	_, other, _ := strings.Cut(pods[1], "/")
	pod := fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: neighbour, namespace: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: %s, imagePullPolicy: IfNotPresent, args: [sleep], securityContext: {runAsUser: 0}}]
`, bareNS, nodeName, env.appImage)
	if _, err := kubectlIn([]byte(pod), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = kubectl("-n", bareNS, "delete", "pod", "neighbour", "--wait=false") })
	mustKubectl(t, "-n", bareNS, "wait", "pod/neighbour", "--for=condition=Ready", "--timeout=60s")

	targets := []string{victim + ":8080", "127.0.0.1:8080", "127.0.0.1:4140", "0.0.0.0:8080", "169.254.169.254:80"}
	if other != victim {
		targets = append(targets, other+":8080")
	}
	out := mustKubectl(t, "-n", bareNS, "exec", "neighbour", "-c", "app", "--", "/app", "neighbour",
		"-victim", victim, "-targets", strings.Join(targets, ","))
	type result struct {
		Target, Answer, Error string
		Connected, Reset      bool
	}
	for _, r := range decode[[]result](t, []byte(out)) {
		switch {
		case r.Error != "":
			t.Errorf("%s: %s", r.Target, r.Error)
		case r.Target == targets[0]:
			if !strings.HasPrefix(r.Answer, "HTTP/1.1 200") {
				t.Errorf("the pod's own address: got %+v, want an answer", r)
			}
		case r.Connected, r.Answer != "":
			// Nobody but the victim knows where the sender is: what answers, for another pod too, is the victim.
			t.Errorf("%s: got %+v, want no connection", r.Target, r)
		}
	}
}
