package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// closedServer denies everybody at the test server. It is applied in a dry run, which asks webhooks too.
const closedServer = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: warned, namespace: %s}
spec: {podSelector: {matchLabels: {app: server}}, port: 8080, accessPolicy: deny}
`

// testPolicyWarnings applies a policy that cuts off a caller: in a namespace that does not ask for warnings, then in
// one that does.
func testPolicyWarnings(t *testing.T) {
	apply := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := command(ctx, env.kubectl, "apply", "--dry-run=server", "-f", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(closedServer, appNS))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const caller = "/sa/client would be denied at deploy/server port 8080 ("
	if out, err := apply(); err != nil || strings.Contains(out, "would be denied") {
		t.Errorf("a namespace that does not ask: error %v, printed %s", err, out)
	}
	mustKubectl(t, "annotate", "namespace", appNS, "policy.tulle.dev/warn=true")
	t.Cleanup(func() { mustKubectl(t, "annotate", "namespace", appNS, "policy.tulle.dev/warn-") })
	eventually(t, time.Minute, func() error {
		if got := meshed.http(t, "-url", "http://server.e2e/"); got.Status != http.StatusOK {
			return fmt.Errorf("status %d (%s), want 200", got.Status, got.Error)
		}
		out, err := apply()
		if err != nil || !strings.Contains(out, "Warning: ") || !strings.Contains(out, caller) {
			return fmt.Errorf("error %v, want a warning with %q:\n%s", err, caller, out)
		}
		return nil
	})
}
