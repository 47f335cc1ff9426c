// Package viz is the flags and the printing of `tulle viz ...`, one command a file.
//
// It owns what a person types and reads. What a command finds is in the packages below viz at the root. It decides one
// thing: where the numbers come from (source.go). The one idea: objects are read with the rights of the user, and
// numbers from the nearest place that has them.
package viz

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Env is what the program gives to the commands.
type Env struct {
	Out, Err io.Writer
	// Connect reaches the cluster that the flags name. It does not send a request yet.
	Connect func() (*cluster.Client, error)
	// ControlNamespace is that of the control plane, by the flags.
	ControlNamespace func() string
	// Namespace is that of -n, or "".
	Namespace func() string
	// Verbose says whether to say on stderr what is being done.
	Verbose func() bool
	// Read reads a file, a URL or, for "-", the standard input.
	Read func(ctx context.Context, name string) ([]byte, error)
	// Version is the program's.
	Version string
	// Failed is what a command returns that has written what is wrong.
	Failed error
	// PrometheusTimeout bounds the wait for the Prometheus of the flag; 0 means prometheus.Timeout.
	PrometheusTimeout time.Duration
	// Configured takes the place of reading the cluster for what has no traffic; nil reads it.
	Configured func(context.Context, *cluster.Client) (Configured, error)
	// Source takes the place of the choice of a source; nil chooses.
	Source func(context.Context, *cluster.Client) (metrics.Source, error)
}

// commands is what all commands share.
type commands struct {
	Env
	prometheus Prometheus
}

// New returns `viz` with its commands.
func New(env Env) *cobra.Command {
	c := &commands{Env: env}
	cmd := &cobra.Command{
		Use:   "viz",
		Short: "Show the traffic of the mesh",
		Long: `viz shows who calls whom, how well, and over which identity.

The numbers come from the Prometheus of --prometheusURL if given, otherwise from the viz extension. Without either, viz reads the
proxies themselves, through the API server. It then waits for as long as -t says, and prints where the numbers come from.`,
		Example: `  tulle viz install | kubectl apply -f -
  tulle viz check
  tulle viz stat deploy -n shop
  tulle viz stat deploy -n shop --from deploy/web
  tulle viz edges deploy -n shop`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.prometheus.Register(cmd.PersistentFlags())
	cmd.AddCommand(c.installCommand(), c.checkCommand(), c.uninstallCommand(), c.pruneCommand(), c.allowScrapesCommand(),
		c.statCommand(), c.statInboundCommand(), c.statOutboundCommand(), c.routesCommand(), c.edgesCommand(),
		c.authzCommand(), c.listCommand(), c.tapCommand(), c.topCommand(), c.profileCommand())
	return cmd
}

// scope is the flags that say which objects a command is about.
type scope struct {
	allNamespaces bool
	selector      string
}

func (s *scope) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&s.allNamespaces, "all-namespaces", "A", false, "every namespace; -n is not used")
	selectorFlag(cmd, &s.selector)
}

func selectorFlag(cmd *cobra.Command, selector *string) {
	cmd.Flags().StringVarP(selector, "selector", "l", "", "labels that the resources have, as in app=web,tier!=db")
}

// namespace returns the namespace that the command is about; "" is every namespace.
func (s *scope) namespace(cl *cluster.Client) string {
	if s.allNamespaces {
		return ""
	}
	return cl.Namespace
}

// windowFlag adds -t. checkWindow refuses a value that is too short.
func windowFlag(cmd *cobra.Command, window *string) {
	cmd.Flags().StringVarP(window, "time-window", "t", "1m", "how far back to look, at least 15s, as in 30s, 10m or 1h")
}

func checkWindow(text string) (time.Duration, error) {
	window, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("--time-window %q: want a time such as 30s, 10m or 1h", text)
	}
	if window < metrics.MinWindow {
		return 0, fmt.Errorf("--time-window %q: want at least %s, because metrics are read every 10 s", text,
			metrics.MinWindow)
	}
	return window, nil
}

// outputFlag adds -o, which takes one of the formats; the first is the default. The command refuses others before it
// runs.
func outputFlag(cmd *cobra.Command, output *string, formats ...string) {
	last := len(formats) - 1
	text := strings.Join(formats[:last], ", ") + " or " + formats[last]
	cmd.Flags().StringVarP(output, "output", "o", formats[0], "format: "+text)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *output) {
			return fmt.Errorf("output %q: want %s", *output, text)
		}
		return nil
	}
}

// note prints sentences for the user, on stderr.
func (c *commands) note(notes []string) {
	for _, n := range notes {
		fmt.Fprintln(c.Err, table.Safe(n))
	}
}
