package viz

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/cli/profile"
	"github.com/tulle-mesh/tulle/mesh"
	recording "github.com/tulle-mesh/tulle/viz/profile"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// profileFlags are the flags of `viz profile`.
type profileFlags struct {
	tap           string
	duration      time.Duration
	limit         int
	clusterDomain string
	output        string
}

func (c *commands) profileCommand() *cobra.Command {
	var f profileFlags
	cmd := &cobra.Command{
		Use:   "profile --tap RESOURCE SERVICE",
		Short: "Write a ServiceProfile from live requests",
		Long: `profile watches the requests that arrive at a resource for --tap-duration, and prints a ServiceProfile for the Service with a route
for each method and path. The profile's namespace is that of -n, and so is the Service's. It needs what tap needs. Read the routes before
you apply them: join paths that differ in an id only, as in /books/[^/]*.`,
		Example: `  tulle viz profile -n shop --tap deploy/web web
  tulle viz profile -n shop --tap deploy/web --tap-duration 30s web | kubectl apply -f -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one Service, and with --tap what to watch")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.profile(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.tap, "tap", "", "resource whose requests to watch, such as deploy/web")
	flags.DurationVar(&f.duration, "tap-duration", 5*time.Second, "how long to watch")
	flags.IntVar(&f.limit, "tap-route-limit", 20, fmt.Sprintf("at most this many routes, up to %d; the most frequent ones",
		recording.MaxRoutes))
	flags.StringVar(&f.clusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	outputFlag(cmd, &f.output, "yaml", "json")
	return cmd
}

func (c *commands) profile(ctx context.Context, service string, f profileFlags) error {
	switch {
	case f.tap == "":
		return errors.New("name with --tap what to watch, as in --tap deploy/web; " +
			"`tulle profile` writes a ServiceProfile from an OpenAPI or protobuf file")
	case f.duration <= 0:
		return fmt.Errorf("--tap-duration %v: want more than 0", f.duration)
	case f.limit < 1 || f.limit > recording.MaxRoutes:
		return fmt.Errorf("--tap-route-limit %d: want 1 to %d", f.limit, recording.MaxRoutes)
	}
	w, err := c.newWatch(ctx, []string{f.tap}, tapFlags{maxRPS: mesh.MaxTapRate})
	if err != nil {
		return err
	}
	of := profile.Service{Name: service, Namespace: w.target.Namespace, ClusterDomain: f.clusterDomain}
	if err := of.Check(); err != nil {
		return err
	}
	w.query.Direction = "inbound"
	var recorder recording.Recorder
	missed := tapclient.Missed{Print: tapclient.PrintLines(c.Err)}
	err = w.runFor(ctx, f.duration, func(m tap.Message) error {
		missed.Add(m, time.Now())
		if m.Event != nil {
			recorder.Add(m.Event)
		}
		return nil
	})
	missed.Flush()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("watch %s: interrupted", w.target)
	}
	if err != nil {
		return err
	}
	routes, omitted, left := recorder.Routes(f.limit)
	if omitted > 0 {
		fmt.Fprintf(c.Err, "Left out by --tap-route-limit, with fewer requests: %d.\n", omitted)
	}
	if left > 0 {
		fmt.Fprintf(c.Err, "Requests whose method or path is too long or unusual for a route: %d.\n", left)
	}
	if len(routes) == 0 {
		return fmt.Errorf("no request arrived at %s within %v: there is nothing to write", w.target, f.duration)
	}
	return manifest.Write(c.Out, []map[string]any{of.Object(routes)}, f.output)
}
