// Package viz holds the flags and the printing of `tulle viz ...`, one command a file.
//
// It owns what a person types and reads. The packages in /viz compute the rows. It decides one thing: where the numbers
// come from (source.go). The one idea: objects are read with the rights of the user, and numbers come from the first
// source that answers.
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

// Env is what the program provides to the commands. Its fields must be set, except those for which nil or 0 means
// something.
type Env struct {
	Out, Err io.Writer
	// Connect returns a client of the cluster that the flags name. It sends no request.
	Connect func() (*cluster.Client, error)
	// ControlNamespace returns the namespace of the control plane that the flags name.
	ControlNamespace func() string
	// Namespace returns the value of -n, or "".
	Namespace func() string
	// Verbose reports whether to log progress on stderr.
	Verbose func() bool
	// Read reads a file, a URL or, for "-", the standard input.
	Read func(ctx context.Context, name string) ([]byte, error)
	// Version is the version of the program.
	Version string
	// Failed is the error that a command returns after it has printed the problem itself.
	Failed error
	// PrometheusTimeout bounds the wait for the Prometheus of --prometheusURL; 0 means prometheus.Timeout.
	PrometheusTimeout time.Duration
	// Configured returns what is configured in the cluster, for tests; nil reads the cluster.
	Configured func(context.Context, *cluster.Client) (Configured, error)
	// Source returns where the numbers come from, for tests; nil chooses as the command's help says.
	Source func(context.Context, *cluster.Client) (metrics.Source, error)
	// OpenBrowser opens an address, for tests; nil opens it in the default browser.
	OpenBrowser func(address string) error
}

// commands holds what all commands share.
type commands struct {
	Env
	prometheus PrometheusFlags
	// forDashboard means that notes about the source of numbers go into the pages, and not to stderr.
	forDashboard bool
}

// New returns the command viz with its subcommands.
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
		c.authzCommand(), c.listCommand(), c.tapCommand(), c.topCommand(), c.profileCommand(), c.dashboardCommand())
	return cmd
}

// scope holds the flags that select the objects of a command.
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

// windowFlag adds -t. checkWindow parses its value.
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

// outputFlag adds -o with the formats; the first is the default. The command refuses other values before it runs.
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

// note prints notes for the user on stderr, one a line.
func (c *commands) note(notes []string) {
	for _, n := range notes {
		fmt.Fprintln(c.Err, table.Safe(n))
	}
}
