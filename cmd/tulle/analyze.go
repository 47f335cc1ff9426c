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
	fs.StringVarP(&opts.output, "output", "o", "table", "format: table or json")
	fs.StringVar(&opts.threshold, "failure-threshold", string(analyze.Error),
		"severity from which on the exit code is 1: error, warning or info")
	return cmd
}

func (c *cli) analyze(ctx context.Context, opts analyzeOptions) error {
	threshold := slices.Index(analyze.Severities, analyze.Severity(opts.threshold))
	switch {
	case threshold < 0:
		return fmt.Errorf("--failure-threshold %q: want error, warning or info", opts.threshold)
	case opts.output != "table" && opts.output != "json":
		return fmt.Errorf("output %q: want table or json", opts.output)
	case opts.ignoreCluster && len(opts.files) == 0:
		return errors.New("--ignore-cluster leaves nothing to look at without -f")
	}
	in, err := c.analyzed(ctx, opts)
	if err != nil {
		return err
	}
	namespace := in.namespace
	world := analyze.NewWorld(slices.Concat(in.live, in.files), namespace)
	world.Partial, world.Now, world.Domain = opts.ignoreCluster, time.Now(), in.domain
	findings := world.Analyze()
	one := !opts.all && (len(opts.files) == 0 || c.flags.namespace != "")
	if len(opts.files) > 0 { // the cluster is context only
		inFiles := analyze.NewWorld(in.files, namespace)
		findings = slices.DeleteFunc(findings, func(f analyze.Finding) bool { return !inFiles.Concerns(f) })
	}
	if one {
		findings = slices.DeleteFunc(findings, func(f analyze.Finding) bool { return f.Namespace != namespace })
		if len(opts.files) == 0 && len(findings) == 0 && !world.HasNamespace(namespace) {
			return fmt.Errorf("there is no namespace %s; -n names another, -A is for all", namespace)
		}
	}
	if err := analyze.Write(c.out, findings, opts.output, lookedAt(one, namespace, opts.files)); err != nil {
		return err
	}
	if slices.ContainsFunc(findings,
		func(f analyze.Finding) bool { return slices.Index(analyze.Severities, f.Severity) <= threshold }) {
		return errReported
	}
	return nil
}

// lookedAt says where findings are reported of.
func lookedAt(one bool, namespace string, files []string) string {
	where := "any namespace"
	if one {
		where = "namespace " + namespace
	}
	if len(files) == 0 {
		return where
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = manifest.SourceName(file)
	}
	if !one {
		return strings.Join(names, ", ")
	}
	return where + " of " + strings.Join(names, ", ")
}

// analyzed is what analyze looks at.
type analyzed struct {
	live, files []map[string]any // objects of the cluster, and of the files
	namespace   string           // of objects that name none
	domain      string           // of the cluster; "" if it is not known
}

func (c *cli) analyzed(ctx context.Context, opts analyzeOptions) (in analyzed, err error) {
	in.namespace = c.flags.namespace
	if !opts.ignoreCluster {
		cl, err := c.connect(c.flags)
		if err != nil {
			return in, fmt.Errorf("%w (--ignore-cluster looks at files alone)", err)
		}
		in.namespace = cl.Namespace
		if in.live, err = explain.Objects(ctx, cl); err != nil {
			return in, err
		}
		if config, err := installation.Config(ctx, cl, c.flags.controlNamespace); err == nil {
			values, err := installation.Values(config)
			if err != nil {
				return in, err
			}
			in.domain = values.ClusterDomain
		}
	}
	objects, err := c.sources().Objects(ctx, opts.files)
	if err != nil {
		return in, err
	}
	for _, o := range objects {
		in.files = append(in.files, o.Tree)
	}
	in.namespace = cmp.Or(in.namespace, metav1.NamespaceDefault)
	return in, nil
}
