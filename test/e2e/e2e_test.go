// Package e2e proves on a real Kubernetes what the mesh promises. It needs the cluster of `make cluster` (or any other
// through KUBECONFIG), the images of `make images` loaded into it, and bin/tulle; `make e2e` prepares all three.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Namespaces of the tests.
const (
	meshNS = "tulle"
	appNS  = "e2e"   // annotated: every pod meshed
	bareNS = "plain" // not annotated
)

var env environment

// environment is where the tests find their tools.
type environment struct {
	root       string // of the checkout
	kubectl    string
	tulle      string
	kubeconfig string
	appImage   string // of the test application
	version    string // of the mesh
}

func TestMain(m *testing.M) {
	root, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	env = environment{root: root, kubectl: "kubectl", tulle: filepath.Join(root, "bin/tulle"),
		kubeconfig: os.Getenv("KUBECONFIG")}
	if env.kubeconfig == "" {
		env.kubeconfig = filepath.Join(root, ".cluster/kubeconfig")
	}
	if own := filepath.Join(root, ".cluster/bin/kubectl"); exists(own) {
		env.kubectl = own
	}
	env.appImage = os.Getenv("E2E_APP_IMAGE")
	if !exists(env.kubeconfig) || !exists(env.tulle) || env.appImage == "" {
		fmt.Fprintln(os.Stderr, "e2e: run `make e2e`: the tests need a cluster, images and bin/tulle")
		os.Exit(1)
	}
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: set up:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// setUp installs the mesh and the applications, and waits until all of it is ready.
func setUp() error {
	version, err := run(time.Minute, nil, env.tulle, "version", "--client", "--short")
	if err != nil {
		return err
	}
	env.version = strings.TrimSpace(string(version))
	steps := []struct {
		name string
		run  func() error
	}{
		{"install the mesh", installMesh},
		{"wait for the control plane", func() error {
			_, err := kubectl("-n", meshNS, "rollout", "status", "deployment", "--timeout=180s")
			return err
		}},
		{"check the mesh", func() error {
			_, err := run(5*time.Minute, nil, env.tulle, "check", "--wait",
				"4m")
			return err
		}},
		{"deploy the applications", func() error {
			_,
				err := kubectlIn(manifest("apps.yaml"), "apply", "-f", "-")
			return err
		}},
		{"wait for the applications", func() error {
			for _, ns := range []string{appNS, bareNS} {
				if _, err := kubectl("-n", ns, "rollout", "status", "deployment", "--timeout=180s"); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, step := range steps {
		start := time.Now()
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("e2e: %s (%.0f s)\n", step.name, time.Since(start).Seconds())
	}
	return nil
}

func installMesh() error {
	manifests, err := run(time.Minute, nil, env.tulle, "install", "--set",
		"proxy.defaultInboundPolicy=all-unauthenticated")
	if err != nil {
		return err
	}
	_, err = kubectlIn(manifests, "apply", "-f", "-")
	return err
}

// manifest reads a file of testdata and names in it the test application's image of this build, and the mesh's version,
// so that a new version of the proxy is a new pod.
func manifest(name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		panic(err)
	}
	data = bytes.ReplaceAll(data, []byte("docker.io/tulle-mesh/e2e-app:test"), []byte(env.appImage))
	return bytes.ReplaceAll(data, []byte("MESH_VERSION"), []byte(env.version))
}

// run executes a command with the cluster's kubeconfig and returns its standard output; the error carries its standard
// error.
func run(timeout time.Duration, stdin []byte, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := command(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err,
			tail(stderr.String(), 2000))
	}
	return stdout.Bytes(), nil
}

// command prepares a command with the cluster's kubeconfig.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env.kubeconfig)
	return cmd
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func kubectl(args ...string) ([]byte, error) { return run(5*time.Minute, nil, env.kubectl, args...) }

func kubectlIn(stdin []byte, args ...string) ([]byte, error) {
	return run(5*time.Minute, stdin, env.kubectl, args...)
}

func mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// client names the pod that a test speaks from.
type client struct{ namespace, deployment string }

var (
	meshed   = client{appNS, "client"}
	unmeshed = client{bareNS, "client"}
)

// app runs the test client in the pod and returns what it printed.
func (c client) app(args ...string) ([]byte, error) {
	return kubectl(append([]string{"-n", c.namespace, "exec", "deploy/" + c.deployment, "-c", "app", "--", "/app"},
		args...)...)
}

func (c client) mustApp(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := c.app(args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// answer mirrors the client's JSON.
type answer struct {
	Status   int
	Proto    string
	Header   map[string][]string
	Trailer  map[string][]string
	Bytes    int64
	SHA256   string
	Body     string
	Continue bool
	Error    string
	Seconds  float64
}

func (a answer) header(name string) string {
	if v := a.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// seen mirrors what the server saw.
type seen struct {
	Pod, Method, URI, Proto, Host string
	Header                        map[string][]string
	Bytes                         int64
	SHA256                        string
}

func (c client) http(t *testing.T, args ...string) answer {
	t.Helper()
	return decode[answer](t, c.mustApp(t, append([]string{"http"}, args...)...))
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("decode %q: %v", data, err)
	}
	return v
}

// eventually polls until check returns nil, and fails with its last error after the timeout. A cluster has no event for
// "everything settled", so polling is the honest way.
func eventually(t *testing.T, timeout time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", timeout, err)
		}
		<-time.After(500 * time.Millisecond)
	}
}
