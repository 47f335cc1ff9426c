// Command conformance runs the Gateway API mesh conformance suite against the mesh on a real Kubernetes.
//
// It owns the way from a checkout with a cluster to the reports: the suite's programs and images, the channel's CRDs,
// the run, and the verdict. Whether the mesh conforms is the suite's business; that nothing was left out is this
// command's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tulle-mesh/tulle/test/step"
)

// channels are Gateway API's release channels; the second has everything of the first.
var channels = []string{"standard", "experimental"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	channel := flags.String("channel", "", "standard or experimental; both without")
	only := flags.String("run", "", "one test of the suite, such as MeshTrafficSplit; writes no report")
	kubeconfig := flags.String("kubeconfig", "",
		"a cluster of your own that has the images; without, the one of make cluster")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := step.Checkout()
	if err != nil {
		return err
	}
	cache, err := step.Cache()
	if err != nil {
		return err
	}
	c := &conformance{root: root, cache: cache, kubeconfig: *kubeconfig, only: *only, progress: step.New(os.Stdout)}
	list := channels
	if *channel != "" {
		if !slices.Contains(channels, *channel) {
			return fmt.Errorf("channel %q: want %s", *channel, strings.Join(channels, " or "))
		}
		list = []string{*channel}
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	var failed []error
	for _, channel := range list {
		if err := c.runChannel(ctx, channel); err != nil {
			failed = append(failed, fmt.Errorf("%s channel: %w", channel, err))
		}
	}
	return errors.Join(failed...)
}

// conformance is one run.
type conformance struct {
	root, cache string
	kubeconfig  string // of the user's own cluster; "" is the cluster of this checkout
	only        string // one test; "" for all
	progress    *step.Progress

	suite   string // the suite's program
	echo    string // the image of its application
	crds    string // folder of the channels' CRDs
	version string // of the mesh
}

// prepare builds what the suite needs and installs the mesh.
func (c *conformance) prepare(ctx context.Context) error {
	own := c.kubeconfig != ""
	if !own {
		c.kubeconfig = filepath.Join(c.root, ".cluster", "kubeconfig")
	}
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"the suite, Gateway API " + suiteVersion, func() (string, error) { return c.buildSuite(ctx) }},
		{"image of the echo application", func() (string, error) {
			name, archive, err := c.echoImage(ctx)
			c.echo = name
			if err != nil || own {
				return name, err
			}
			return name, step.Run(ctx, filepath.Join(c.root, "test"), nil, "go", "run", "./cluster", "load", archive)
		}},
	}
	for _, s := range steps {
		if err := c.progress.Do(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// install puts the channel's CRDs and the mesh into the cluster, in place of what an earlier run left.
func (c *conformance) install(ctx context.Context, channel string) (string, error) {
	if _, err := c.kubectl(ctx, "", "delete", "namespace", "gateway-conformance-mesh", "gateway-conformance-mesh-consumer",
		"--ignore-not-found", "--wait"); err != nil {
		return "", err
	}
	// A policy of Gateway API forbids to replace one channel's CRDs by the other's, so they are made anew.
	for _, other := range channels {
		if other == channel {
			continue
		}
		if err := c.definitions(ctx, other, "delete", "--ignore-not-found", "--wait"); err != nil {
			return "", err
		}
	}
	if err := c.definitions(ctx, channel, "apply", "--server-side"); err != nil {
		return "", err
	}
	manifest, err := step.Output(ctx, "", c.env(), c.tulle(), "install")
	if err != nil {
		return "", err
	}
	if _, err := c.kubectl(ctx, manifest+"\n", "apply", "-f", "-"); err != nil {
		return "", err
	}
	out, err := step.Output(ctx, "", c.env(), c.tulle(), "check", "--wait", "4m")
	if err != nil {
		return "", err
	}
	c.version, err = step.Output(ctx, "", c.env(), c.tulle(), "version", "--client", "--short")
	return step.Tail(out, 1), err
}

// definitions runs a verb of kubectl on the CRDs of a channel.
func (c *conformance) definitions(ctx context.Context, channel string, verb ...string) error {
	files, err := filepath.Glob(filepath.Join(c.crds, channel, "gateway.*.yaml")) // the folder also holds a kustomization
	if err != nil {
		return fmt.Errorf("find the CRDs of the %s channel: %w", channel, err)
	}
	for _, file := range files {
		verb = append(verb, "-f", file)
	}
	_, err = c.kubectl(ctx, "", verb...)
	return err
}

func (c *conformance) tulle() string { return filepath.Join(c.root, "bin", "tulle") }

func (c *conformance) env() []string { return []string{"KUBECONFIG=" + c.kubeconfig} }

func (c *conformance) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	program := "kubectl"
	if own := filepath.Join(c.root, ".cluster", "bin", "kubectl"); fileExists(own) {
		program = own
	}
	return c.pipe(ctx, stdin, program, args...)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
