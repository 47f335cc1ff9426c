package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
)

const (
	// suiteVersion is the release of the suite, as modules/suite pins it, and suiteToolchain the Go release that it wants.
	suiteVersion   = "v1.7.0"
	suiteToolchain = "go1.27.3"
	// meshTests is how many tests of a mesh the suite has.
	meshTests = 23
)

// features are all that the suite can ask of a mesh.
var features = []string{
	"Mesh", "HTTPRoute", "GRPCRoute",
	"MeshClusterIPMatching", "MeshConsumerRoute", "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect", "MeshHTTPRouteRedirectPort",
	"MeshHTTPRouteRedirectPath", "MeshHTTPRouteBackendRequestHeaderModification", "MeshHTTPRouteQueryParamMatching",
	"MeshHTTPRouteNamedRouteRule",
	"HTTPRouteResponseHeaderModification", "HTTPRouteParentRefPort", "HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode",
	"HTTPRoute308RedirectStatusCode",
}

// buildSuite compiles the suite into the cache.
func (c *conformance) buildSuite(ctx context.Context) (string, error) {
	module := filepath.Join(c.root, "test", "conformance", "modules", "suite")
	dir, err := c.moduleDir(ctx, "sigs.k8s.io/gateway-api")
	if err != nil {
		return "", err
	}
	c.crds = filepath.Join(dir, "config", "crd")
	c.suite = filepath.Join(c.cache, "conformance-"+suiteVersion+"-"+runtime.GOARCH, "conformance.test")
	if fileExists(c.suite) {
		return "cached", nil
	}
	if err := os.MkdirAll(filepath.Dir(c.suite), 0o755); err != nil {
		return "", fmt.Errorf("build suite: %w", err)
	}
	tmp := c.suite + ".tmp"
	if err := step.Run(ctx, module, suiteEnv(), "go", "test", "-c", "-trimpath", "-o", tmp, "sigs.k8s.io/gateway-api/conformance"); err != nil {
		return "", err
	}
	return "", os.Rename(tmp, c.suite)
}

func suiteEnv() []string {
	return []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOTOOLCHAIN=" + suiteToolchain}
}

// moduleDir returns the folder of a module that modules/suite requires.
func (c *conformance) moduleDir(ctx context.Context, module string) (string, error) {
	dir := filepath.Join(c.root, "test", "conformance", "modules", "suite")
	if err := step.Run(ctx, dir, suiteEnv(), "go", "mod", "download", module); err != nil {
		return "", err
	}
	return step.Output(ctx, dir, suiteEnv(), "go", "list", "-m", "-f", "{{.Dir}}", module)
}

// runChannel installs a channel's CRDs and the mesh, runs the suite and writes its report.
func (c *conformance) runChannel(ctx context.Context, channel string) error {
	err := c.progress.Do(channel+" channel: CRDs and mesh", func() (string, error) { return c.install(ctx, channel) })
	if err != nil {
		return err
	}
	report := filepath.Join(c.root, "test", "conformance", "reports", fmt.Sprintf("%s-%s-default-report.yaml", channel, c.version))
	if c.only != "" {
		report = filepath.Join(c.cache, "conformance-report.yaml")
	}
	if err := os.MkdirAll(filepath.Dir(report), 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	var outcome results
	err = c.progress.Do(channel+" channel: suite", func() (string, error) {
		outcome, err = c.runSuite(ctx, report)
		return outcome.String(), err
	})
	if err != nil || c.only != "" {
		return errors.Join(err, outcome.verdict(1))
	}
	summary, err := readReport(report)
	if err != nil {
		return err
	}
	c.progress.Say("%s", summary)
	return errors.Join(outcome.verdict(meshTests), summary.verdict())
}

// runSuite runs the suite and shows each test as it ends. A failed test is no error: the results tell.
func (c *conformance) runSuite(ctx context.Context, report string) (results, error) {
	args := []string{
		"-test.v", "-test.run", "^TestConformance$", "-test.timeout", "30m",
		"--organization=tulle-mesh", "--project=tulle", "--url=https://github.com/tulle-mesh/tulle", "--version=" + c.version,
		"--contact=https://github.com/tulle-mesh/tulle/issues", "--conformance-profiles=MESH-HTTP,MESH-GRPC", "--gateway-class=",
		"--supported-features=" + strings.Join(features, ","), "--namespace-annotations=linkerd.io/inject=enabled", "--report-output=" + report,
	}
	if c.only != "" {
		args = append(args, "--run-test="+c.only)
	}
	cmd := exec.CommandContext(ctx, c.suite, args...)
	cmd.Env = append(os.Environ(), c.env()...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return results{}, fmt.Errorf("run suite: %w", err)
	}
	log, err := os.Create(filepath.Join(c.cache, "conformance.log"))
	if err != nil {
		return results{}, fmt.Errorf("run suite: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return results{}, fmt.Errorf("run suite: %w", err)
	}
	outcome, err := c.follow(io.TeeReader(out, log))
	exit := cmd.Wait()
	var failed *exec.ExitError
	switch {
	case err != nil:
		return outcome, fmt.Errorf("read the suite's output: %w", err)
	case exit != nil && (!errors.As(exit, &failed) || len(outcome.failed) == 0):
		return outcome, fmt.Errorf("run suite: %w; its output is in %s", exit, log.Name())
	}
	return outcome, nil
}

// ended matches the line that go test prints when a test of the suite, or one of its cases, has ended.
var ended = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): TestConformance/(Mesh[^/ ]*)( |/\S+ )`)

// follow reads the suite's output.
func (c *conformance) follow(output io.Reader) (results, error) {
	var r results
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := ended.FindStringSubmatch(lines.Text())
		if m == nil || m[3] != " " {
			continue
		}
		c.progress.Say("     %s %s", strings.ToLower(m[1]), m[2])
		r.add(m[1], m[2])
	}
	return r, lines.Err()
}

// pipe runs a program with the cluster's kubeconfig.
func (c *conformance) pipe(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), c.env()...)
	cmd.Stdin = strings.NewReader(stdin)
	return step.Collect(cmd)
}
