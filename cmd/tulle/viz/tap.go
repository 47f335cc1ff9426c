package viz

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// tapTypes is a part of help texts.
const tapTypes = `RESOURCE is type/name, such as deploy/web, or a type for all of its kind in the namespace. The types are namespaces, deployments,
statefulsets, daemonsets, replicasets, replicationcontrollers, jobs, cronjobs and pods, and their short names. --to takes services
and authorities too.`

// tapFlags are the filters that tap and top share.
type tapFlags struct {
	to, toNamespace                 string
	direction                       string
	selector                        string
	maxRPS                          float64
	scheme, method, authority, path string
}

func (f *tapFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "labels that the pods have, as in app=web,tier!=db")
	flags.StringVar(&f.to, "to", "", "only requests that the resource sent to this one, as in deploy/api or svc/api")
	flags.StringVar(&f.toNamespace, "to-namespace", "", "namespace of --to (default: that of the resource)")
	flags.StringVar(&f.direction, "direction", "", "only inbound or only outbound requests, as the resource sees them")
	flags.Float64Var(&f.maxRPS, "max-rps", mesh.DefaultTapRate,
		fmt.Sprintf("at most this many requests per second, up to %d", mesh.MaxTapRate))
	flags.StringVar(&f.scheme, "scheme", "", "only requests with this scheme, http or https")
	flags.StringVar(&f.method, "method", "", "only requests with this method")
	flags.StringVar(&f.authority, "authority", "", "only requests with this :authority")
	flags.StringVar(&f.path, "path", "", "only requests whose path begins with this")
}

func (c *commands) tapCommand() *cobra.Command {
	var f tapFlags
	var output string
	cmd := &cobra.Command{
		Use:   "tap RESOURCE [NAME]",
		Short: "Watch requests while they happen",
		Long: `tap prints the requests and connections of a resource while they happen, both those that it sends and those that it receives, until
Ctrl-C. It needs the viz extension, pods with tap turned on, and the verb watch on RESOURCE/tap of the API group tap.linkerd.io.

` + tapTypes + `

The lines are: req, rsp and end of a request, and open and close of a connection that is not HTTP. Headers are in -o json and jsonpath
only; bodies are never shown. stderr says what is missing, such as requests beyond --max-rps.`,
		Example: `  tulle viz tap deploy/web -n shop
  tulle viz tap deploy/web -n shop --to deploy/api --path /charge
  tulle viz tap deploy/web -n shop | grep :status=500
  tulle viz tap ns/shop --to ns/prod -o wide
  tulle viz tap deploy/web -n shop -o jsonpath='{.requestInitEvent.path}'`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.tap(cmd.Context(), args, f, output) },
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "format: wide, json or jsonpath=TEMPLATE (default: a short line)")
	return cmd
}

func (c *commands) tap(ctx context.Context, args []string, f tapFlags, output string) error {
	_, headers, err := tapclient.NewFormat(output, "")
	if err != nil {
		return err
	}
	w, err := c.newWatch(ctx, args, f)
	if err != nil {
		return err
	}
	format, _, err := tapclient.NewFormat(output, w.target.Kind.Name)
	if err != nil {
		return err
	}
	w.query.Headers = headers
	signal.Ignore(syscall.SIGPIPE) // so that the end of a reader, such as head, is an error of the write
	missed := tapclient.Missed{Print: tapclient.PrintLines(c.Err)}
	defer missed.Flush()
	err = w.run(ctx, func(m tap.Message) error {
		missed.Add(m, time.Now())
		if m.Event == nil {
			return nil
		}
		text, err := format(m.Event)
		if err != nil || text == "" {
			return err
		}
		_, err = fmt.Fprintln(c.Out, text) // one write a line, so that a pipe has each at once
		return err
	})
	if errors.Is(err, syscall.EPIPE) { // the reader has seen enough
		return nil
	}
	return err
}
