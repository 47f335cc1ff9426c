package viz

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
)

func (c *commands) edgesCommand() *cobra.Command {
	var all bool
	var output string
	cmd := &cobra.Command{
		Use:   "edges RESOURCE [NAME...]",
		Short: "Show who calls whom, and over which identities",
		Long: `edges shows the connections between workloads of the last ten minutes, and whether they are mesh TLS. For a plaintext
connection, SECURED says why.

RESOURCE is a type such as deploy, a type and names, or type/name. The types are deployments, statefulsets, daemonsets, cronjobs,
jobs, replicasets, replicationcontrollers and pods. The other end may be of another type: its type is before its name.

SRC is - if the client's proxy is not among those asked, or if the client has no proxy or has ended. DST is - for a server without a
pod, such as the API server. The kubelet's HTTP and gRPC probes are left out.`,
		Example: `  tulle viz edges deploy -n shop
  tulle viz edges deploy/web -n shop -o wide
  tulle viz edges po -A -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.edges(cmd, args, all, output) },
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "every namespace; -n is not used")
	outputFlag(cmd, &output, "table", "wide", "json")
	return cmd
}

func (c *commands) edges(cmd *cobra.Command, args []string, all bool, output string) error {
	ctx := cmd.Context()
	targets, err := resource.Parse(args)
	if err != nil {
		return err
	}
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	req := edges.Request{Targets: targets, Namespace: cl.Namespace}
	if all {
		req.Namespace = ""
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := edges.Find(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	switch {
	case output == "json":
		return edges.WriteJSON(c.Out, result.Edges)
	case len(result.Edges) == 0:
		c.nothing("No edges found.", req.Namespace, targets)
		return nil
	}
	return edges.WriteTable(c.Out, result.Edges, output == "wide")
}
