package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/sidecar"
)

func (c *cli) diagnosticsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "diagnostics",
		Aliases: []string{"dg"},
		Short:   "Look inside the control plane and the proxies",
		Example: `  tulle diagnostics endpoints web.shop.svc.cluster.local:80
  tulle diagnostics policy -n shop deploy/web 8080
  tulle diagnostics proxy-metrics -n shop deploy/web
  tulle diagnostics controller-metrics`,
		Args: noSuchCommand,
		// With a RunE an unknown command below this one is an error, not help and success.
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.endpointsCommand(), c.policyOfCommand(), c.profileOfCommand(), c.proxyMetricsCommand(),
		c.controllerMetricsCommand())
	return cmd
}

// noSuchCommand refuses what is no command below cmd, and names those that are nearly so.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return fmt.Errorf("unknown command %q for %q; see `%s --help`", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return fmt.Errorf("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(),
		strings.Join(near, " or "))
}

func (c *cli) proxyMetricsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proxy-metrics KIND/NAME",
		Short: "Print the metrics of a workload's proxies as they export them",
		Example: `  tulle diagnostics proxy-metrics -n shop deploy/web
  tulle diagnostics proxy-metrics -n shop pod/web-5d8f7c-x2x7q`,
		Args: aResource,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := cluster.ParseResource(args)
			if err != nil {
				return err
			}
			cl, err := c.connect(c.flags)
			if err != nil {
				return err
			}
			pods, err := cluster.PodsOf(cmd.Context(), cl, kind, name)
			if err != nil {
				return err
			}
			return cluster.Scrape(cmd.Context(), c.out, cl, pods, sidecar.AdminPort)
		},
	}
}

func (c *cli) controllerMetricsCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:     "controller-metrics",
		Short:   "Print the metrics of every control-plane pod",
		Example: `  tulle diagnostics controller-metrics`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(c.flags)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			pods, err := cluster.ControlPods(ctx, cl, c.flags.controlNamespace)
			if err != nil {
				return err
			}
			return cluster.Scrape(ctx, c.out, cl, pods, cluster.ControllerAdminPort)
		},
	}
	cmd.Flags().DurationVarP(&wait, "wait", "w", 30*time.Second, "how long to wait for all answers")
	return cmd
}
