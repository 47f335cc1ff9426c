package viz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/web"
)

// dashboardPort is Linkerd's.
const dashboardPort = 50750

// dashboardFlags are the flags of `viz dashboard`.
type dashboardFlags struct {
	address    string
	port       int
	show       string
	grafanaURL string
	// portGiven says that the user chose the port.
	portGiven bool
}

func (c *commands) dashboardCommand() *cobra.Command {
	var f dashboardFlags
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Open the dashboard in a browser",
		Long: `dashboard serves the dashboard at an address of this machine and opens it in the default browser, until Ctrl-C. Everything that it
shows is read with your own rights, as the other commands do.

The address that it prints has a token. Only a browser that opened it sees the dashboard.`,
		Example: `  tulle viz dashboard
  tulle viz dashboard --show url &
  tulle viz dashboard -p 8080 -n shop`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q: %s takes no arguments; -n names a namespace", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.portGiven = cmd.Flags().Changed("port")
			return c.dashboard(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.address, "address", "localhost", "address of this machine at which to serve")
	flags.IntVarP(&f.port, "port", "p", dashboardPort, "port at which to serve; a free one if the default is taken")
	flags.StringVar(&f.show, "show", "tulle", "what to open in the browser: tulle, grafana, or url for nothing")
	flags.StringVar(&f.grafanaURL, "grafana-url", "", "address of a Grafana with Tulle's dashboards, to link to")
	return cmd
}

// check returns an error about the first flag that has no meaning.
func (f *dashboardFlags) check() error {
	if f.show == "linkerd" {
		f.show = "tulle"
	}
	if !slices.Contains([]string{"tulle", "grafana", "url"}, f.show) {
		return fmt.Errorf("--show %q: want tulle, grafana or url", f.show)
	}
	if f.port < 0 || f.port > 65535 {
		return fmt.Errorf("--port %d: want a port, from 1 to 65535, or 0 for a free one", f.port)
	}
	if f.grafanaURL != "" {
		u, err := url.Parse(f.grafanaURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return fmt.Errorf("--grafana-url %q: want an address such as https://grafana.example.com", f.grafanaURL)
		}
	}
	if f.show == "grafana" && f.grafanaURL == "" {
		return errors.New("--show grafana: say where Grafana is, with --grafana-url")
	}
	return nil
}

func (c *commands) dashboard(ctx context.Context, f dashboardFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	listeners, err := c.listen(f)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listeners[0].Addr().String())
	if err != nil {
		return fmt.Errorf("serve the dashboard: %w", err)
	}
	log := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		zapcore.AddSync(c.Err), zap.WarnLevel))
	checks := &board.Checks{}
	server := web.New(web.Config{
		Hosts: hosts(f.address, port),
		Viewer: web.Viewer{Sources: func() board.Sources {
			return board.Sources{Numbers: src, Objects: objects.New(cl, c.ControlNamespace()), Client: cl,
				ControlNamespace: c.ControlNamespace(), Version: c.Version, Checks: checks}
		}},
		About: web.About{Version: c.Version, Namespace: c.Namespace(), GrafanaURL: f.grafanaURL},
		Log:   log,
	})
	own := url.URL{Scheme: "http", Host: net.JoinHostPort(cmp.Or(f.address, "localhost"), port), Path: "/",
		RawQuery: "token=" + server.Token()}
	fmt.Fprintf(c.Out, "Tulle dashboard available at:\n%s\n", &own)
	if f.grafanaURL != "" {
		fmt.Fprintf(c.Out, "Grafana dashboard available at:\n%s\n", f.grafanaURL)
	}
	return server.Run(ctx, listeners...)
}

// hosts returns what a browser may name as its host.
func hosts(address, port string) (out []string) {
	for _, name := range []string{"localhost", "127.0.0.1", "::1", address} {
		if name != "" {
			out = append(out, net.JoinHostPort(name, port))
		}
	}
	return out
}

// listen returns the listeners. A name such as localhost may mean an address of IPv4 and one of IPv6. Both are taken,
// so that no other program gets requests that a browser means for the dashboard.
func (c *commands) listen(f dashboardFlags) ([]net.Listener, error) {
	listeners, err := listenAll(f.address, f.port)
	if errors.Is(err, syscall.EADDRINUSE) && !f.portGiven {
		fmt.Fprintf(c.Err, "Port %d is taken. Taking a free one.\n", f.port)
		listeners, err = listenAll(f.address, 0)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serve the dashboard: port %d is taken; give another one with --port", f.port)
	}
	if err != nil {
		return nil, fmt.Errorf("serve the dashboard at --address %s: %w", f.address, err)
	}
	return listeners, nil
}

func listenAll(address string, port int) ([]net.Listener, error) {
	if address != "localhost" {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		return []net.Listener{l}, err
	}
	first, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	taken := first.Addr().(*net.TCPAddr).Port
	second, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(taken)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.Join(err, first.Close())
	}
	if err != nil { // there is no IPv6
		return []net.Listener{first}, nil
	}
	return []net.Listener{first, second}, nil
}
