package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var data string
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "a real Kubernetes on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&data, "data", "", "folder of the cluster (default: .cluster beside the root go.mod)")
	open := func(cmd *cobra.Command) (*Cluster, error) { return Open(data, cmd.OutOrStdout()) }

	var nodes int
	up := &cobra.Command{
		Use: "up", Short: "start the cluster, or make sure that it runs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			return c.Up(cmd.Context(), nodes)
		},
	}
	up.Flags().IntVar(&nodes, "nodes", 0, "number of nodes, each in a zone of its own (0: as many as there were, else 1)")
	enter := &cobra.Command{
		Use: "exec NODE COMMAND...", Short: "run a command in the namespaces of a node", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			return c.Exec(cmd.Context(), args[0], args[1:])
		},
	}
	enter.Flags().SetInterspersed(false) // flags behind the node are the command's
	root.AddCommand(up, enter, &cobra.Command{
		Use: "down", Short: "end the cluster and remove everything of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			return c.Down(cmd.Context())
		},
	}, &cobra.Command{
		Use: "load ARCHIVE...", Short: "import image archives on every node", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, archives []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			return c.Load(cmd.Context(), archives)
		},
	}, &cobra.Command{
		Use: "status", Short: "show nodes and processes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			return c.Status(cmd.Context())
		},
	}, &cobra.Command{
		Use: superviseVerb, Short: "be the first process of a node (started by up)", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return supervise(cmd.Context(), cmd.InOrStdin()) },
	})
	return root
}
