package viz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	authentication "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/install/manifests"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/web"
)

const (
	// dashboardPort is the port of Linkerd's dashboard.
	dashboardPort = 50750
	// localhost is the default address: the loopback addresses of IPv4 and IPv6.
	localhost = "localhost"
	// configurationAge is how old the control plane's configuration on a page may be.
	configurationAge = 30 * time.Second
)

// The values of --show.
const (
	showTulle   = "tulle"
	showGrafana = "grafana"
	showURL     = "url"
)

// dashboardFlags are the flags of `viz dashboard`.
type dashboardFlags struct {
	address    string
	port       int
	show       string
	grafanaURL string
	traceURL   string
	// portGiven is whether the user chose the port.
	portGiven bool
}

func (c *commands) dashboardCommand() *cobra.Command {
	var f dashboardFlags
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Open the dashboard in a browser",
		Long: `dashboard serves the dashboard on this machine and opens it in the default browser, until Ctrl-C. Everything that it shows is read
with your own rights, as by the other commands. It begins with every namespace, or with the one of -n.

The address that it prints has a token. A browser sees the dashboard once it has opened that address.`,
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
	flags.StringVar(&f.address, "address", localhost, "address of this machine at which to serve")
	flags.IntVarP(&f.port, "port", "p", dashboardPort, "port at which to serve; a free one if the default is taken")
	flags.StringVar(&f.show, "show", showTulle, "what to open in the browser: tulle, grafana, or url for nothing")
	flags.StringVar(&f.grafanaURL, "grafana-url", "", "address of a Grafana with Tulle's dashboards, for links")
	flags.StringVar(&f.traceURL, "trace-url", "", "address to which a trace's ID is added, for links")
	return cmd
}

// check replaces Linkerd's value of --show by Tulle's, and returns an error about a flag that is not valid.
func (f *dashboardFlags) check() error {
	if f.show == "linkerd" {
		f.show = showTulle
	}
	if !slices.Contains([]string{showTulle, showGrafana, showURL}, f.show) {
		return fmt.Errorf("--show %q: want tulle, grafana or url", f.show)
	}
	if f.port < 0 || f.port > 65535 {
		return fmt.Errorf("--port %d: want a port, from 1 to 65535, or 0 for a free one", f.port)
	}
	if f.address == "" {
		return errors.New("--address: want an address of this machine, such as localhost")
	}
	for flag, text := range map[string]string{"grafana-url": f.grafanaURL, "trace-url": f.traceURL} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil) {
			return fmt.Errorf("--%s %q: want an address such as https://grafana.example.com", flag, text)
		}
	}
	if f.show == showGrafana && f.grafanaURL == "" {
		return errors.New("--show grafana: give the address of Grafana with --grafana-url")
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
	live := c.liveSource(cl)
	if _, err := live.choose(ctx); err != nil { // such as a wrong flag
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
	shared := web.NewSharedSource(live)
	defer shared.Close()
	retained := explain.Retain(configurationAge, func(ctx context.Context) (*explain.Model, error) {
		return explain.Load(ctx, cl, c.ControlNamespace())
	})
	configuration := func(ctx context.Context, _ string) (board.Configuration, error) { return retained(ctx) }
	history := web.CacheHistory(func(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
		return metrics.AskHistory(ctx, live, r)
	})
	checks := &board.Checks{Render: manifests.Render}
	server := web.New(web.Config{
		Hosts: hosts(f.address, port),
		Viewer: web.Viewer{Post: cl.Post, Sources: func() board.Sources {
			return board.Sources{Numbers: shared, History: history, Configuration: configuration,
				Objects: objects.New(cl, c.ControlNamespace()), Client: cl, ControlNamespace: c.ControlNamespace(),
				Version: c.Version, Checks: checks}
		}},
		AppConfig: c.appConfig(cl, f),
		Log: zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(c.Err),
			zap.WarnLevel)),
	})
	c.announce(f, port, server)
	return server.Run(ctx, listeners...)
}

// appConfig returns the function that web.Config wants. It asks the cluster for the viewer's name once.
func (c *commands) appConfig(cl *cluster.Client, f dashboardFlags) func(context.Context) web.AppConfig {
	var mu sync.Mutex // guards the fields below
	viewer, known := "", false
	return func(ctx context.Context) web.AppConfig {
		mu.Lock()
		defer mu.Unlock()
		if !known {
			limited, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
			defer cancel()
			review, err := cl.AuthenticationV1().SelfSubjectReviews().Create(limited, &authentication.SelfSubjectReview{},
				metav1.CreateOptions{})
			if err == nil {
				viewer = review.Status.UserInfo.Username
			}
			known = ctx.Err() == nil // other errors stay, such as that of a cluster without this API
		}
		return web.AppConfig{Version: c.Version, Cluster: cl.Context, Namespace: c.Namespace(), Viewer: viewer,
			GrafanaURL: f.grafanaURL, TraceURL: f.traceURL}
	}
}

// announce prints the addresses with Linkerd's messages, and opens one of them.
func (c *commands) announce(f dashboardFlags, port string, server *web.Server) {
	host := f.address
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = localhost
	}
	address := func(token string) string {
		query := url.Values{"token": {token}}
		if c.Namespace() != "" {
			query.Set("namespace", c.Namespace())
		}
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/", RawQuery: query.Encode()}
		return u.String()
	}
	if !isLoopback(f.address) {
		fmt.Fprintln(c.Err, "Others can reach this address, and HTTP is not encrypted. "+
			"Those who learn the token or read the traffic see what you may see.")
	}
	fmt.Fprintf(c.Out, "Tulle dashboard available at:\n%s\n", address(server.Token()))
	if f.grafanaURL != "" {
		fmt.Fprintf(c.Out, "Grafana dashboard available at:\n%s\n", f.grafanaURL)
	}
	// Other users of the machine can read the browser's arguments, so the token in them works once.
	name, target := "Tulle", ""
	switch f.show {
	case showURL:
		return
	case showGrafana:
		name, target = "Grafana", f.grafanaURL
	default:
		target = address(server.OneTimeToken())
	}
	fmt.Fprintf(c.Out, "Opening %s dashboard in the default browser\n", name)
	open := c.OpenBrowser
	if open == nil {
		open = openBrowser
	}
	if err := open(target); err != nil {
		fmt.Fprintf(c.Err, "Failed to open a browser (%v).\nVisit the address above in your browser to view the dashboard.\n",
			err)
	}
}

func isLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return address == localhost || err == nil && ip.IsLoopback()
}

// hosts returns the hosts that a request may name. An unspecified address, such as 0.0.0.0, is not among them: the
// server itself accepts the address at which a request arrived.
func hosts(address, port string) (out []string) {
	names := []string{localhost, "127.0.0.1", "::1"}
	if ip, err := netip.ParseAddr(address); err != nil || !ip.IsUnspecified() {
		names = append(names, address)
	}
	for _, name := range names {
		host := net.JoinHostPort(name, port)
		out = append(out, host)
		if port == "80" { // browsers leave it out
			out = append(out, host[:len(host)-len(":80")])
		}
	}
	return out
}

// listen returns the listeners. For localhost it listens on the loopback addresses of IPv4 and IPv6, because a browser
// may use either, and another program must not get these requests.
func (c *commands) listen(f dashboardFlags) ([]net.Listener, error) {
	listeners, err := listenAll(f.address, f.port)
	if errors.Is(err, syscall.EADDRINUSE) && !f.portGiven {
		fmt.Fprintf(c.Err, "Port %d is taken, so the dashboard takes another one.\n", f.port)
		listeners, err = listenAll(f.address, 0)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serve the dashboard: port %d of %s is taken; give another one with --port", f.port,
			f.address)
	}
	if err != nil {
		return nil, fmt.Errorf("serve the dashboard at --address %s: %w", f.address, err)
	}
	return listeners, nil
}

func listenAll(address string, port int) ([]net.Listener, error) {
	if address != localhost {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		return []net.Listener{l}, err
	}
	first, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	_, taken, err := net.SplitHostPort(first.Addr().String())
	if err != nil {
		return nil, errors.Join(err, first.Close())
	}
	second, err := net.Listen("tcp", net.JoinHostPort("::1", taken))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.Join(err, first.Close())
	}
	if err != nil { // this machine has no IPv6
		return []net.Listener{first}, nil
	}
	return []net.Listener{first, second}, nil
}
