package e2e

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// watchedNS has a frontend that calls a backend, both injected after the extension.
const watchedNS = "watched"

const watchedService = `
{apiVersion: v1, kind: Namespace, metadata: {name: watched, annotations: {linkerd.io/inject: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: backend, namespace: watched}
spec: {selector: {app: backend}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
`

// testWatchCommands runs the commands that watch requests, while a frontend calls a backend.
func testWatchCommands(t *testing.T) {
	frontend, backend := client{watchedNS, "frontend"}, client{watchedNS, "backend"}
	t.Cleanup(func() { mustKubectl(t, "delete", "namespace", watchedNS, "--ignore-not-found", "--wait=false") })
	all := watchedService + deployment(frontend, 0, "", "") + deployment(backend, 1, "", "")
	if _, err := kubectlIn([]byte(all), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "-n", watchedNS, "rollout", "status", "deployment", "--timeout=120s")
	ctx, cancel := context.WithCancel(t.Context())
	load := command(ctx, env.kubectl, "-n", watchedNS, "exec", "deploy/frontend", "-c", "app", "--", "/app", "load",
		"-url",
		"http://backend."+watchedNS+"/charge?order=1", "-rate", "20", "-count", "12000")
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = load.Wait() }) // it was ended

	t.Run("tap, its lines reach a pipe at once", func(t *testing.T) {
		out := shell(t, `viz tap deploy/backend | grep -m 1 "200"`)
		want := regexp.MustCompile(`^rsp id=0:\d+ proxy=in  src=\S+ dst=\S+:8080 tls=true :status=200 latency=\d+µs\n$`)
		if !want.Match(out) {
			t.Errorf("printed %q, want %s", out, want)
		}
	})
	t.Run("tap with filters", func(t *testing.T) {
		out := shell(t, "viz tap deploy/frontend --to deploy/backend --path /charge -o wide | head -30")
		for _, want := range []string{
			`(?m)^req id=0:\d+ proxy=out .* tls=true :method=GET :authority=backend\.watched(:80)? ` +
				`:path=/charge\S* src_res=deploy/frontend src_ns=watched dst_res=deploy/backend dst_ns=watched`,
			`(?m)^rsp .*:status=200`, `(?m)^end .*duration=\d+µs response-length=\d+B`} {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("no line like %s in\n%s", want, out)
			}
		}
		if bytes.Contains(out, []byte("proxy=in")) {
			t.Errorf("--to shows requests that arrived:\n%s", out)
		}
	})
	t.Run("top without a terminal", func(t *testing.T) {
		out, err := run(time.Minute, nil, env.tulle, "viz", "top", "deploy/backend", "-n", watchedNS, "--duration", "5s")
		want := regexp.MustCompile(`^Source +Destination +Method +Path +Count +Best +Worst +Last +Success Rate\n` +
			`frontend-\S+ +backend-\S+ +GET +/charge +\d{2,} +\d+[µm]s +\d+[µm]?s +\d+[µm]?s +100\.00%\n`)
		if err != nil || !want.Match(out) {
			t.Errorf("error %v, printed\n%s\nwant %s", err, out, want)
		}
	})
	t.Run("top in a terminal", testTopInTerminal)
	t.Run("profile", func(t *testing.T) {
		out, err := run(time.Minute, nil, env.tulle, "viz", "profile", "-n", watchedNS, "--tap", "deploy/backend", "backend")
		if err != nil || !strings.Contains(string(out), "pathRegex: /charge\n") {
			t.Fatalf("error %v, printed\n%s", err, out)
		}
		if _, err := kubectlIn(out, "apply", "--dry-run=server", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	t.Run("without the right", func(t *testing.T) {
		_, err := run(time.Minute, nil, env.tulle, "--as", "mallory", "viz", "tap", "deploy/backend", "-n", watchedNS)
		if err == nil || !strings.Contains(err.Error(), "verb watch on deployments/tap of the API group tap.linkerd.io") ||
			!strings.Contains(err.Error(), "--clusterrole linkerd-linkerd-viz-tap-admin") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a name that does not exist", func(t *testing.T) {
		_, err := run(time.Minute, nil, env.tulle, "viz", "tap", "deploy/backends", "-n", watchedNS)
		if err == nil || !strings.Contains(err.Error(), `did you mean "backend"?`) {
			t.Errorf("error %v", err)
		}
	})
}

// shell runs tulle in a pipeline, in the namespace that is watched.
func shell(t *testing.T, pipeline string) []byte {
	t.Helper()
	out, err := run(2*time.Minute, nil, "sh", "-c", fmt.Sprintf("'%s' -n %s %s", env.tulle, watchedNS, pipeline))
	if err != nil {
		t.Error(err)
	}
	return out
}

// testTopInTerminal wants rows on the screen, and the end when a user presses q.
func testTopInTerminal(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := command(ctx, env.tulle, "viz", "top", "deploy/backend", "-n", watchedNS)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 160})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var screen bytes.Buffer
	quit := false
	for part := make([]byte, 4096); ; {
		n, err := terminal.Read(part) // fails once the program has ended
		screen.Write(part[:n])
		if !quit && bytes.Contains(screen.Bytes(), []byte("/charge")) && bytes.Contains(screen.Bytes(), []byte("100.00%")) {
			quit = true
			if _, err := terminal.WriteString("q"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	const restored = "\x1b[?1049l" // leaves the alternate screen
	if err != nil || !quit || !strings.Contains(screen.String(), restored) {
		t.Errorf("error %v, rows seen: %v, screen %q", err, quit, tail(screen.String(), 2000))
	}
}
