// Package main shows the mesh at work: a cluster, the control plane, the viz extension, a small shop with customers,
// and what viz says of who talks to whom. It compares that with the proxies' metrics and with the customers' own count.
//
// It owns the order of the steps and what has to be true at their end. It drives the same programs that a user would:
// tulle, kubectl and the cluster tool; it must not import the product.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/test/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var d demo
	root := &cobra.Command{
		Use: "demo", Short: "the mesh at work on a real cluster", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if d.root, err = step.Checkout(); err != nil {
				return err
			}
			d.cache, err = step.Cache()
			d.progress = step.New(cmd.OutOrStdout())
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	root.Flags().StringVar(&d.kubeconfig, "kubeconfig", "", "use this cluster instead of one on this machine")
	root.Flags().DurationVar(&d.window, "window", defaultWindow,
		"how long to watch the traffic before it is shown")
	root.AddCommand(&cobra.Command{
		Use: "images", Short: "write the archives of the shop's images and stop", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			images, err := d.images(cmd.Context())
			for _, i := range images {
				d.progress.Say("%s  %s", i.archive, i.name)
			}
			return err
		},
	})
	return root
}
