package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/cli/learn"
	"github.com/tulle-mesh/tulle/cmd/tulle/viz"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// trafficFlags holds the flags about the traffic that learn and what-if read.
type trafficFlags struct {
	window     time.Duration
	prometheus viz.PrometheusFlags
}

func (c *cli) policyCommand() *cobra.Command {
	var seen trafficFlags
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Make policies from traffic, and compare policies with it",
		Long: `policy compares who may call a workload with who does. learn prints the policies that allow what was seen. what-if says which
callers a change of policy would cut off.

The numbers come from the Prometheus of --prometheusURL if given, otherwise from the viz extension. Without either, policy reads the
proxies themselves, through the API server, and waits for as long as -t says.

The numbers reach back only as far as the Prometheus keeps them; the one of the viz extension keeps 6h. With a longer -t, stderr says
how far back they reach.`,
		Example: `  tulle policy learn -n shop -t 6h > policies.yaml
  tulle policy what-if -t 6h -f policies.yaml
  kubectl apply -f policies.yaml`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	fs := cmd.PersistentFlags()
	fs.DurationVarP(&seen.window, "time-window", "t", time.Hour, "how far back to look, at least 15s, as in 30m or 6h")
	seen.prometheus.Register(fs)
	cmd.AddCommand(c.learnCommand(&seen), c.whatIfCommand(&seen))
	return cmd
}

func (c *cli) learnCommand(seen *trafficFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "learn",
		Short: "Print the policies that allow what was seen, and nothing else",
		Long: `learn prints Servers, MeshTLSAuthentications and AuthorizationPolicies for the workloads of a namespace. They allow each identity
that called in the time window to call the same port, and where a Server has routes, the same route. They allow nothing else.

learn uses Servers that exist. It changes their accessPolicy to deny. A Server that learn makes selects pods by the label that the
injector gives to each pod of a workload. Comments say how often each identity called.

Metrics do not show who calls without an identity. learn does not allow such calls; it says on stderr and in comments how many there
were. It also says what else it leaves out, and which existing policies allow more.`,
		Example: `  tulle policy learn -n shop
  tulle policy learn -n shop -t 6h | tulle policy what-if -t 6h -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.learn(cmd.Context(), *seen) },
	}
}

func (c *cli) learn(ctx context.Context, seen trafficFlags) error {
	if err := seen.check(); err != nil {
		return err
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return err
	}
	config, events, err := explain.Read(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return err
	}
	world := learn.NewWorld(config, events)
	if !world.HasNamespace(cl.Namespace) {
		return fmt.Errorf("there is no namespace %s; -n names another", cl.Namespace)
	}
	found, window, err := c.observedTraffic(ctx, cl, seen, world, []string{cl.Namespace})
	if err != nil {
		return err
	}
	policies := learn.Learn(world, cl.Namespace, found)
	c.note(policies.Notes)
	if len(policies.Documents) == 0 {
		c.note([]string{"No traffic found that a policy could allow."})
		return nil
	}
	return policies.Write(c.out, fmt.Sprintf(
		"Policies that allow what was seen in namespace %s within %s, and nothing else.\n"+
			"Ports without a Server stay as they are. To close them, annotate the namespace:\n"+
			"config.linkerd.io/default-inbound-policy: deny", cl.Namespace, shortDuration(window)))
}

func (t trafficFlags) check() error {
	if t.window < metrics.MinWindow {
		return fmt.Errorf("--time-window %s: want at least %s, because metrics are read every 10 s", shortDuration(t.window),
			metrics.MinWindow)
	}
	return nil
}

// observedTraffic returns the traffic of the namespaces, and the window that it covers.
func (c *cli) observedTraffic(ctx context.Context, cl *cluster.Client, seen trafficFlags, world *learn.World,
	namespaces []string) (learn.Traffic, time.Duration, error) {
	source, err := viz.Source(ctx, c.vizEnv(), cl, seen.prometheus)
	if err != nil {
		return learn.Traffic{}, 0, err
	}
	answer, err := source.Ask(ctx, seen.window, learn.Queries(namespaces))
	if err != nil {
		return learn.Traffic{}, 0, err
	}
	window := answer.Window
	if window <= 0 {
		window = seen.window
	}
	found := learn.Read(world, namespaces, answer.Samples)
	found.Partial = len(answer.Notes) > 0
	found.Notes = slices.Concat(answer.Notes, found.Notes)
	return found, window, nil
}

// note prints notes for the user on stderr, one a line.
func (c *cli) note(notes []string) {
	for _, n := range notes {
		fmt.Fprintln(c.err, metrics.Printable(n, 1000))
	}
}

// shortDuration returns a duration as 1h instead of 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
