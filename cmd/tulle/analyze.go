package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/analyze"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

type analyzeOptions struct {
	files         []string
	ignoreCluster bool
	all           bool
	output        string
	threshold     string
}

func (c *cli) analyzeCommand() *cobra.Command {
	var opts analyzeOptions
	cmd := &cobra.Command{
		Use:   "analyze [flags]",
		Short: "Find configuration that is valid but has no effect",
		Long: `analyze reports configuration that is valid but has no effect, or another one than it appears to. It reads routes, policies, profiles,
Services, namespaces, workloads and pods. It finds what the status of an object would say, such as references to missing objects, and
also profiles in the wrong namespace, policies that admit everybody, Servers that admit nobody, pods without a proxy, Pod Security
levels that refuse the proxy, and annotations that are misspelled or at the wrong object.

With -f, analyze examines the files as if they were applied to the cluster, and reports findings about their objects only. -n limits
the report to one namespace. With --ignore-cluster it examines the files alone, and reports nothing as missing. In files it also finds
unknown fields and values of the wrong type. Which values the API server accepts, kubectl apply --dry-run=server says.

The exit code is 1 if a finding has the severity of --failure-threshold, or a worse one.`,
		Example: `  tulle analyze -n shop
  tulle analyze -A -o json
  tulle analyze -f manifests/ --ignore-cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.analyze(cmd.Context(), opts) },
	}
	fs := cmd.Flags()
	fs.StringArrayVarP(&opts.files, "filename", "f", nil,
		"file, directory, URL, or - for standard input, as if it were applied; may be repeated")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false, "look at the files alone")
	fs.BoolVarP(&opts.all, "all-namespaces", "A", false, "report findings of all namespaces, not only of that of -n")
	outputFlag(cmd, &opts.output, "table", "json")
	fs.StringVar(&opts.threshold, "failure-threshold", string(analyze.Error),
		"severity from which on the exit code is 1: error, warning or info")
	return cmd
}

func (c *cli) analyze(ctx context.Context, opts analyzeOptions) error {
	threshold := analyze.Severity(opts.threshold)
	switch {
	case !slices.Contains(analyze.Severities, threshold):
		return fmt.Errorf("--failure-threshold %q: want error, warning or info", opts.threshold)
	case opts.ignoreCluster && len(opts.files) == 0:
		return errors.New("--ignore-cluster leaves nothing to look at without -f")
	}
	in := analyze.Input{Namespace: c.flags.namespace, Partial: opts.ignoreCluster, Now: time.Now(),
		Only: !opts.all && (len(opts.files) == 0 || c.flags.namespace != "")}
	if !opts.ignoreCluster {
		cl, err := c.connect(c.flags)
		if err != nil {
			return fmt.Errorf("%w (--ignore-cluster looks at files alone)", err)
		}
		in.Namespace = cl.Namespace
		if in.Live, err = explain.Objects(ctx, cl); err != nil {
			return err
		}
		if in.Domain, err = installation.ClusterDomain(ctx, cl, c.flags.controlNamespace); err != nil {
			return err
		}
	}
	in.Namespace = cmp.Or(in.Namespace, metav1.NamespaceDefault)
	objects, err := c.sources().Objects(ctx, opts.files)
	if err != nil {
		return err
	}
	for _, o := range objects {
		in.Files = append(in.Files, o.Tree)
	}
	findings, err := analyze.Run(in)
	if err != nil {
		return err
	}
	if err := analyze.Write(c.out, findings, opts.output, examined(in, opts.files)); err != nil {
		return err
	}
	if analyze.Reach(findings, threshold) {
		return errReported
	}
	return nil
}

// examined says what findings are about.
func examined(in analyze.Input, files []string) string {
	where := "any namespace"
	if in.Only {
		where = "namespace " + in.Namespace
	}
	if len(files) == 0 {
		return where
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = manifest.SourceName(file)
	}
	if !in.Only {
		return strings.Join(names, ", ")
	}
	return where + " of " + strings.Join(names, ", ")
}
