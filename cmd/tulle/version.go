package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) versionCommand() *cobra.Command {
	var clientOnly, short, proxy bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the CLI, the control plane and the proxies",
		Example: `  tulle version
  tulle -n shop version --proxy
  tulle version --client --short`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.printVersion("Client version", version, short); clientOnly {
				return nil
			}
			return c.serverVersions(cmd.Context(), short, proxy)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&clientOnly, "client", false, "only the CLI's version")
	fs.BoolVar(&short, "short", false, "only the version itself")
	fs.BoolVar(&proxy, "proxy", false, "also the proxies' versions, of all namespaces or that of -n")
	return cmd
}

func (c *cli) printVersion(what, version string, short bool) {
	if short {
		fmt.Fprintln(c.out, version)
		return
	}
	fmt.Fprintf(c.out, "%s: %s\n", what, version)
}

// serverVersions prints what runs in the cluster; that it cannot be asked is part of the answer and not an error,
// unless the proxies' versions were asked for.
func (c *cli) serverVersions(ctx context.Context, short, proxy bool) error {
	cl, err := c.connect(c.flags)
	server := "unavailable"
	if err == nil {
		var versions map[string]int
		if versions, err = cluster.Versions(ctx, cl, c.flags.controlNamespace, mesh.ControlPlaneComponentLabel,
			func(m metav1.ObjectMeta) string { return m.Labels[mesh.VersionLabel] }); len(versions) > 0 {
			server = strings.Join(slices.Sorted(maps.Keys(versions)), ", ")
		}
	}
	if err != nil {
		fmt.Fprintln(c.err, "note: the control plane's version is not known:", err)
	}
	c.printVersion("Server version", server, short)
	if !proxy {
		return nil
	}
	if err != nil {
		return err
	}
	selector := mesh.ControlPlaneNSLabel + "=" + c.flags.controlNamespace
	versions, err := cluster.Versions(ctx, cl, c.flags.namespace, selector,
		func(m metav1.ObjectMeta) string { return m.Annotations[mesh.ProxyVersionAnnotation] })
	if err != nil {
		return fmt.Errorf("list proxies: %w", err)
	}
	if len(versions) == 0 {
		return errors.New("no proxies found")
	}
	if !short {
		fmt.Fprintln(c.out, "Proxy versions:")
	}
	for _, v := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(c.out, "\t%s (%d pods)\n", v, versions[v])
	}
	return nil
}
