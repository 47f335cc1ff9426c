// Package strict checks what Gateway API's mesh suite leaves out: the path that a backend sees, the Location of a
// redirect, the statuses, and the gaps that other meshes were caught with after they had passed. `make conformance`
// runs it; it needs the cluster, the mesh and the suite's echo image that the command before it has prepared.
package strict

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	kubectlPath = "kubectl"
	kubeconfig  = os.Getenv("CONFORMANCE_KUBECONFIG")
	image       = os.Getenv("CONFORMANCE_IMAGE")
	channel     = os.Getenv("CONFORMANCE_CHANNEL")
)

func TestMain(m *testing.M) {
	if kubeconfig == "" || image == "" {
		fmt.Fprintln(os.Stderr,
			"strict: run `make conformance`: the tests need a cluster with the mesh and the suite's image")
		os.Exit(1)
	}
	if own, err := filepath.Abs("../../../.cluster/bin/kubectl"); err == nil {
		if _, err := os.Stat(own); err == nil {
			kubectlPath = own
		}
	}
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "strict: set up:", err)
		os.Exit(1)
	}
	code := m.Run()
	_, _ = kubectl("", "delete", "namespace", "strict", "strict-other", "--wait=false")
	os.Exit(code)
}

func setUp() error {
	// What a run before left may be ending still: nothing lives long that is applied into it.
	if _, err := kubectl("", "delete", "namespace", "strict", "strict-other", "--ignore-not-found", "--wait"); err != nil {
		return err
	}
	data, err := os.ReadFile("testdata/echo.yaml")
	if err != nil {
		return err
	}
	if _, err := kubectl(strings.ReplaceAll(string(data), "ECHO_IMAGE", image), "apply", "-f", "-"); err != nil {
		return err
	}
	for _, ns := range []string{"strict", "strict-other"} {
		if _, err := kubectl("", "-n", ns, "rollout", "status", "deployment", "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
}

func kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, kubectlPath, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, complaints.String())
	}
	return out.String(), nil
}

// request is one request of a client; count of them when it is not 0.
type request struct {
	from    string // deployment; a namespace other than strict in front, with a slash
	url     string
	headers []string
	method  string
	flags   []string // more of the client's
	count   int
}

// response is what the echo client printed of one request.
type response struct {
	status  int
	version string            // of the application that answered: v1, v2, client, or "" for the proxy
	path    string            // that it saw
	headers map[string]string // of the response, by lower-case name
	seen    map[string]string // headers that the application saw
	code    string            // of a gRPC call that failed
}

// line is what the client prints of request n: a key of the response, or, of its body, what the server says it saw.
var line = regexp.MustCompile(`^\[(\d+)(?: body)?\] (\w+)=(.*)$`)

// send returns the responses in the order of the requests.
func send(r request) ([]response, error) {
	namespace, deployment, ok := strings.Cut(r.from, "/")
	if !ok {
		namespace, deployment = "strict", r.from
	}
	args := []string{"-n", namespace, "exec", "deploy/" + deployment, "-c", "echo", "--", "client", r.url, "--timeout=10s"}
	for _, h := range r.headers {
		args = append(args, "-H", h)
	}
	if r.method != "" {
		args = append(args, "--method", r.method)
	}
	n := max(r.count, 1)
	args = append(args, "--count", strconv.Itoa(n))
	out, err := kubectl("", append(args, r.flags...)...)
	if err != nil {
		if m := rpcError.FindStringSubmatch(out + err.Error()); m != nil && n == 1 {
			return []response{{code: m[1]}}, nil
		}
		return nil, fmt.Errorf("%w%s", err, out)
	}
	return parse(out, n), nil
}

// rpcError is how the client ends that made a gRPC call that failed.
var rpcError = regexp.MustCompile(`rpc error: code = (\w+)`)

func parse(out string, n int) []response {
	responses := make([]response, n)
	for text := range strings.Lines(out) {
		m := line.FindStringSubmatch(strings.TrimRight(text, "\r\n"))
		if m == nil {
			continue
		}
		i, _ := strconv.Atoi(m[1])
		if i >= n {
			continue
		}
		r := &responses[i]
		switch m[2] {
		case "StatusCode":
			r.status, _ = strconv.Atoi(m[3])
		case "Hostname":
			r.version = strings.TrimPrefix(deployment(m[3]), "echo-")
		case "URL":
			r.path = m[3]
		case "ResponseHeader":
			r.headers = withHeader(r.headers, m[3])
		case "RequestHeader":
			r.seen = withHeader(r.seen, m[3])
		}
	}
	return responses
}

func withHeader(to map[string]string, line string) map[string]string {
	if name, value, ok := strings.Cut(line, ":"); ok {
		if to == nil {
			to = map[string]string{}
		}
		to[strings.ToLower(name)] = value
	}
	return to
}

// deployment returns the name of the deployment that a pod belongs to: two parts are added to it.
func deployment(pod string) string {
	parts := strings.Split(pod, "-")
	return strings.Join(parts[:max(0, len(parts)-2)], "-")
}

// eventually calls check until it succeeds thrice in a row, for at most half a minute: the suite's bound for what was
// applied to hold.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	var err error
	for passed := 0; passed < 3; {
		if err = check(); err == nil {
			passed++
			continue
		}
		passed = 0
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// apply applies a manifest and removes it at the end of the test.
func apply(t *testing.T, manifest string) {
	t.Helper()
	if _, err := kubectl(manifest, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := kubectl(manifest, "delete", "-f", "-", "--ignore-not-found", "--wait"); err != nil {
			t.Error(err)
		}
	})
}
