package viz

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// routesFlags are the flags of `viz routes`.
type routesFlags struct {
	workloadFlags
	to, toNamespace, sort string
}

func (c *commands) routesCommand() *cobra.Command {
	var f routesFlags
	cmd := &cobra.Command{
		Use:   "routes RESOURCE [NAME...]",
		Short: "Show success rate, request rate and latency of routes",
		Long: `routes shows the success rate, the rate and the latency of requests, by route: of ServiceProfiles, HTTPRoutes and GRPCRoutes alike.
[DEFAULT] is the requests to a Service without routes, and those that match no route of its ServiceProfile.

RESOURCE is a type such as deploy, a type and names such as deploy web api, or one or more type/name of one type. Without --to the
requests are those to the resource: a workload, a pod, a namespace, a service or an authority. With --to they are those that the
workloads sent there.

With -o wide, EFFECTIVE is the application's requests, and ACTUAL is those with their retries.`,
		Example: `  tulle viz routes svc/api -n shop
  tulle viz routes deploy/web -n shop --to svc/api -o wide
  tulle viz routes deploy/web -n shop --to deploy/api --sort p99`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.routes(cmd.Context(), args, f) },
	}
	selectorFlag(cmd, &f.selector)
	windowFlag(cmd, &f.window)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "only requests that the resources sent to this one, as in svc/api or deploy/api")
	flags.StringVar(&f.toNamespace, "to-namespace", "", "namespace of --to (default: that of the resources)")
	flags.StringVar(&f.sort, "sort", "",
		"first: the slowest (p99), the most frequent (rps) or the least successful (success) "+
			"(default: by service and route)")
	outputFlag(cmd, &f.output, "table", "wide", "json")
	return cmd
}

func (c *commands) routes(ctx context.Context, args []string, f routesFlags) error {
	if f.sort != "" && !slices.Contains(routes.Orders, f.sort) {
		return fmt.Errorf("--sort %q: want %s", f.sort, strings.Join(routes.Orders, ", "))
	}
	base, cl, err := c.connect(&f.workloadFlags, args)
	if err != nil {
		return err
	}
	req := routes.Request{Targets: base.Targets, Namespace: base.Namespace, Selector: base.Selector, Window: base.Window}
	if f.to == "" && f.toNamespace != "" {
		f.to = "ns/" + f.toNamespace
	}
	if req.To, err = peer("to", f.to, f.toNamespace, req.Namespace); err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	var configured Configured
	var unread error
	if !callsAuthority(req) {
		configured, unread = c.configured(ctx)
		req.Existing = configured.Routes
	}
	result, err := routes.Tables(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	if unread != nil {
		result.Notes = append(result.Notes, fmt.Sprintf("routes without requests are not shown: %v", unread))
	}
	c.note(result.Notes)
	routes.Sort(result.Tables, f.sort)
	options := routes.Options{Wide: f.output == "wide", To: req.To != nil, Authorities: callsAuthority(req)}
	return write(c, f.output, subject.Request{Targets: req.Targets, Namespace: req.Namespace}, result.Tables,
		func(w io.Writer, tables []routes.Table) error { return routes.WriteTables(w, tables, options) },
		func(w io.Writer, tables []routes.Table) error { return routes.WriteJSON(w, tables, options) })
}

// callsAuthority reports whether the request names an authority, and not a Service or a workload.
func callsAuthority(req routes.Request) bool {
	called := req.Targets[0].Kind
	if req.To != nil {
		called = req.To.Kind
	}
	return called.Class == resource.Called && called.Name != "service"
}
