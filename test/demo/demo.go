package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/test/step"
)

const (
	namespace     = "shop"
	defaultWindow = 30 * time.Second
)

// demo is one run. Everything that it does can be done again: what is there already is left as it is.
type demo struct {
	root, cache string
	kubeconfig  string // of the user's own cluster; "" is the cluster of this checkout
	window      time.Duration
	progress    *step.Progress
	own         bool // the cluster is the user's own
}

func (d *demo) run(ctx context.Context) error {
	if err := d.cluster(ctx); err != nil {
		return err
	}
	shop, err := d.loadImages(ctx)
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"tulle install | kubectl apply -f -", func() (string, error) { return d.install(ctx) }},
		{"tulle check", func() (string, error) { return d.check(ctx) }},
		{"tulle viz install | kubectl apply -f -", func() (string, error) { return d.installViz(ctx) }},
		{"deploy the shop", func() (string, error) { return d.deploy(ctx, "shop.yaml", shop) }},
		{"every pod ready, each with its proxy", func() (string, error) { return d.awaitShop(ctx) }},
		{"a Job runs and ends", func() (string, error) { return d.finishJob(ctx, shop) }},
		{"tulle viz check", func() (string, error) { return d.checkViz(ctx) }},
	}
	for _, s := range steps {
		if err := d.progress.Do(s.name, s.do); err != nil {
			return err
		}
	}
	return d.show(ctx)
}

// cluster makes sure that there is one: the user's, or the one of this checkout.
func (d *demo) cluster(ctx context.Context) error {
	if d.kubeconfig != "" {
		d.own = true
		return d.progress.Do("reach the cluster of "+d.kubeconfig,
			func() (string, error) { return d.kubectl(ctx, "", "get", "--raw", "/readyz") })
	}
	d.kubeconfig = filepath.Join(d.root, ".cluster", "kubeconfig")
	cmd := exec.CommandContext(ctx, "go", "run", "./cluster", "up")
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(d.root, "test"), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start cluster: %w", err)
	}
	return nil
}

// loadImages brings the mesh's and the shop's images to the nodes and returns the shop's.
func (d *demo) loadImages(ctx context.Context) ([]image, error) {
	shop, err := d.images(ctx)
	if err != nil {
		return nil, err
	}
	archives := []string{filepath.Join(d.root, "dist", "controller.tar"), filepath.Join(d.root, "dist", "proxy.tar")}
	for _, i := range shop {
		archives = append(archives, i.archive)
	}
	if !d.own { // which has no registry; others get the same image from its own
		archive, err := d.prometheusImage(ctx)
		if err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return shop, d.progress.Do("images on the nodes", func() (string, error) {
		if d.own {
			return d.loadForeign(ctx, archives)
		}
		args := append([]string{"run", "./cluster", "load"}, archives...)
		return "", step.Run(ctx, filepath.Join(d.root, "test"), nil, "go", args...)
	})
}

// loadForeign knows how the usual local clusters take images; others must be able to pull them.
func (d *demo) loadForeign(ctx context.Context, archives []string) (string, error) {
	current, err := d.kubectl(ctx, "", "config", "current-context")
	if err != nil {
		return "", err
	}
	for _, archive := range archives {
		if name, ok := strings.CutPrefix(current, "kind-"); ok {
			err = step.Run(ctx, "", nil, "kind", "load", "image-archive", archive, "--name", name)
		} else if name, ok := strings.CutPrefix(current, "k3d-"); ok {
			err = step.Run(ctx, "", nil, "k3d", "image", "import", archive, "--cluster", name)
		} else {
			return "context " + current + " is neither kind nor k3d: its nodes must get the images of dist/ in their own way",
				nil
		}
		if err != nil {
			return "", err
		}
	}
	return current, nil
}

func (d *demo) install(ctx context.Context) (string, error) {
	manifest, err := step.Output(ctx, "", d.env(), d.tulle(), "install")
	if err != nil {
		return "", err
	}
	out, err := d.kubectl(ctx, manifest+"\n", "apply", "-f", "-")
	if err != nil {
		return "", err
	}
	// Until the old injector is gone, pods may still get the old proxy.
	if _, err := d.kubectl(ctx, "", "-n", "tulle", "rollout", "status", "deployment", "--timeout=60s"); err != nil {
		return "", err
	}
	return countChanges(out), nil
}

func (d *demo) check(ctx context.Context) (string, error) {
	out, err := step.Output(ctx, "", d.env(), d.tulle(), "check", "--wait", "3m")
	if err != nil {
		return "", err
	}
	return step.Tail(out, 1), nil
}

// deploy applies a manifest with the images that were just built in place of those for hand use.
func (d *demo) deploy(ctx context.Context, file string, images []image) (string, error) {
	manifest, err := os.ReadFile(filepath.Join(d.root, "test", "demo", file))
	if err != nil {
		return "", fmt.Errorf("read manifest: %w", err)
	}
	for _, i := range images {
		manifest = bytes.ReplaceAll(manifest, []byte(i.plain), []byte(i.name))
		if i.tag != "" {
			manifest = bytes.ReplaceAll(manifest, []byte("restock-dev"), []byte("restock-"+i.tag))
		}
	}
	out, err := d.kubectl(ctx, string(manifest), "apply", "-f", "-")
	return countChanges(out), err
}

// countChanges sums up what kubectl apply said.
func countChanges(applied string) string {
	unchanged, lines := 0, 0
	for line := range strings.Lines(applied) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasSuffix(line, " unchanged"):
			unchanged++
			lines++
		case strings.HasSuffix(line, " created"), strings.HasSuffix(line, " configured"),
			strings.HasSuffix(line, " serverside-applied"):
			lines++
		}
	}
	return fmt.Sprintf("%d objects, %d changed", lines, lines-unchanged)
}

// awaitShop waits for every workload. Pods without a proxy were made while no injector answered, pods with another
// proxy before the mesh was updated: they are replaced, once.
func (d *demo) awaitShop(ctx context.Context) (string, error) {
	version, err := step.Output(ctx, "", d.env(), d.tulle(), "version", "--client", "--short")
	if err != nil {
		return "", err
	}
	for attempt := 0; ; attempt++ {
		if err := d.rollout(ctx); err != nil {
			return "", errors.Join(err, d.explain(ctx))
		}
		pods, err := d.pods(ctx)
		if err != nil {
			return "", err
		}
		var stale []string
		for _, p := range pods {
			if !strings.HasSuffix(p.proxy(), ":"+version) {
				stale = append(stale, p.Metadata.Name)
			}
		}
		if len(stale) == 0 {
			return fmt.Sprintf("%d pods, proxy %s", len(pods), version), nil
		}
		if attempt == 1 {
			return "", fmt.Errorf("pods without the proxy %s: %s", version, strings.Join(stale, ", "))
		}
		if _, err := d.kubectl(ctx, "", "-n", namespace, "rollout", "restart", "deployment"); err != nil {
			return "", err
		}
	}
}

// rollout waits for all deployments together: kubectl's own timeout is for each of them.
func (d *demo) rollout(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	_, err := d.kubectl(ctx, "", "-n", namespace, "rollout", "status", "deployment")
	return err
}

// finishJob runs the Job of this image, unless it has run before.
func (d *demo) finishJob(ctx context.Context, images []image) (string, error) {
	if _, err := d.deploy(ctx, "restock.yaml", images); err != nil {
		return "", err
	}
	var job string
	for _, i := range images {
		if i.tag != "" {
			job = "job/restock-" + i.tag
		}
	}
	if _, err := d.kubectl(ctx, "", "-n", namespace, "wait", "--for=condition=Complete", job,
		"--timeout=60s"); err != nil {
		return "", errors.Join(err, d.explain(ctx))
	}
	return d.kubectl(ctx, "", "-n", namespace, "logs", job, "-c", "restock")
}

// explain collects what a person would look at first when pods do not come up.
func (d *demo) explain(ctx context.Context) error {
	pods, err := d.kubectl(ctx, "", "-n", namespace, "get", "pods", "-o", "wide")
	if err != nil {
		return err
	}
	events, err := d.kubectl(ctx, "", "-n", namespace, "get", "events", "--field-selector=type=Warning",
		"--sort-by=.lastTimestamp")
	if err != nil {
		return err
	}
	return fmt.Errorf("pods:\n%s\nwarnings:\n%s", pods, step.Tail(events, 10))
}

func (d *demo) tulle() string { return filepath.Join(d.root, "bin", "tulle") }

func (d *demo) env() []string { return []string{"KUBECONFIG=" + d.kubeconfig} }

// kubectl runs the cluster tool's kubectl where there is one, else the user's.
func (d *demo) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	program := filepath.Join(d.root, ".cluster", "bin", "kubectl")
	if _, err := os.Stat(program); err != nil || d.own {
		program = "kubectl"
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), d.env()...)
	cmd.Stdin = strings.NewReader(stdin)
	return step.Collect(cmd)
}
