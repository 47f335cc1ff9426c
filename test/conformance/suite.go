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
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
)

const (
	// suiteVersion is the release of the suite, as modules/suite pins it, and suiteToolchain the Go release that it wants.
	suiteVersion   = "v1.7.0"
	suiteToolchain = "go1.27.3"
	// meshTests is how many tests of a mesh the suite has.
	meshTests = 23
	// strictTests is the least number of package strict's own, below which something has kept them from running.
	strictTests = 60
)

// features are all that the suite can ask of a mesh.
var features = []string{
	"Mesh", "HTTPRoute", "GRPCRoute",
	"MeshClusterIPMatching", "MeshConsumerRoute", "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect",
	"MeshHTTPRouteRedirectPort",
	"MeshHTTPRouteRedirectPath", "MeshHTTPRouteBackendRequestHeaderModification", "MeshHTTPRouteQueryParamMatching",
	"MeshHTTPRouteNamedRouteRule",
	"HTTPRouteResponseHeaderModification", "HTTPRouteParentRefPort", "HTTPRoute303RedirectStatusCode",
	"HTTPRoute307RedirectStatusCode",
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
	if err := step.Run(ctx, module, suiteEnv(), "go", "test", "-c", "-trimpath", "-o", tmp,
		"sigs.k8s.io/gateway-api/conformance"); err != nil {
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
	report := filepath.Join(c.root, "test", "conformance", "reports",
		fmt.Sprintf("%s-%s-default-report.yaml", channel, c.snapshot()))
	if c.only != "" {
		report = filepath.Join(c.cache, "conformance-report.yaml")
	}
	if err := os.MkdirAll(filepath.Dir(report), 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	outcome, err := c.show(channel+" channel: suite", func() (results, error) { return c.runSuite(ctx, report) })
	if err != nil || c.only != "" {
		return errors.Join(err, outcome.checkComplete(1))
	}
	summary, err := readReport(report)
	if err != nil {
		return err
	}
	c.progress.Say("%s", summary)
	beyond, err := c.show(channel+" channel: what the suite leaves out",
		func() (results, error) { return c.runStrict(ctx, channel) })
	return errors.Join(outcome.checkComplete(meshTests), summary.checkComplete(channel), err,
		beyond.checkComplete(strictTests))
}

// show runs tests as a step.
func (c *conformance) show(name string, run func() (results, error)) (r results, err error) {
	err = c.progress.Do(name, func() (string, error) {
		r, err = run()
		return r.String(), err
	})
	return r, err
}

// snapshot returns the mesh's version as a semantic version, which is how reports have to name it; a build without a
// release in its history is one before the first. Source: gateway-api conformance/reports/README.md.
func (c *conformance) snapshot() string {
	if release.MatchString(c.version) {
		return c.version
	}
	return "v0.0.0-g" + c.version
}

var release = regexp.MustCompile(`^v\d+\.\d+\.\d+`)

// runSuite runs the suite and shows each test as it ends. A failed test is no error: the results tell.
func (c *conformance) runSuite(ctx context.Context, report string) (results, error) {
	args := []string{
		"-test.v", "-test.run", "^TestConformance$", "-test.timeout", "30m",
		"--organization=tulle-mesh", "--project=tulle", "--url=https://github.com/tulle-mesh/tulle", "--version=" + c.snapshot(),
		"--contact=https://github.com/tulle-mesh/tulle/issues", "--conformance-profiles=MESH-HTTP,MESH-GRPC", "--gateway-class=",
		"--supported-features=" + strings.Join(features, ","), "--namespace-annotations=linkerd.io/inject=enabled",
		"--report-output=" + report,
	}
	if c.only != "" {
		args = append(args, "--run-test="+c.only)
	}
	return c.runTests(exec.CommandContext(ctx, c.suite, args...), "conformance.log", suiteEnded)
}

// runStrict runs the tests of package strict with the CRDs of a channel in place.
func (c *conformance) runStrict(ctx context.Context, channel string) (results, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=20m", "-v", "./conformance/strict")
	cmd.Dir = filepath.Join(c.root, "test")
	cmd.Env = []string{"CONFORMANCE_KUBECONFIG=" + c.kubeconfig, "CONFORMANCE_IMAGE=" + c.echo, "CONFORMANCE_CHANNEL=" +
		channel}
	return c.runTests(cmd, "conformance-strict.log", strictEnded)
}

// runTests runs a program that prints what go test -v does, keeps its output and shows each test as it ends. A failed
// test is no error: the results tell. cmd.Env is what the program needs besides the environment.
func (c *conformance) runTests(cmd *exec.Cmd, logName string, ended *regexp.Regexp) (results, error) {
	cmd.Env = slices.Concat(os.Environ(), c.env(), cmd.Env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return results{}, fmt.Errorf("run tests: %w", err)
	}
	log, err := os.Create(filepath.Join(c.cache, logName))
	if err != nil {
		return results{}, fmt.Errorf("run tests: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return results{}, fmt.Errorf("run tests: %w", err)
	}
	outcome, err := c.follow(io.TeeReader(out, log), ended)
	exit := cmd.Wait()
	var failed *exec.ExitError
	switch {
	case err != nil:
		return outcome, fmt.Errorf("read the tests' output: %w", err)
	case exit != nil && (!errors.As(exit, &failed) || len(outcome.failed) == 0):
		return outcome, fmt.Errorf("run tests: %w; their output is in %s", exit, log.Name())
	case len(outcome.failed) > 0:
		c.progress.Say("     the whole output is in %s", log.Name())
	}
	return outcome, nil
}

// suiteEnded and strictEnded match the line that go test prints when a test has ended: one of the suite's, whose cases
// do not count, and one of strict's.
var (
	suiteEnded  = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): TestConformance/(Mesh[^/ ]*) `)
	strictEnded = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (Test\S+) `)
)

// follow reads what go test prints.
func (c *conformance) follow(output io.Reader, ended *regexp.Regexp) (results, error) {
	var r results
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := ended.FindStringSubmatch(lines.Text())
		if m == nil {
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
