package viz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Parts of help texts, about the types of resources that have proxies.
const (
	workloadTypes = `RESOURCE is a type such as deploy, a type and names such as deploy web api, one or more type/name, or all.
` + workloadKinds
	oneType = `RESOURCE is a type such as deploy, a type and names such as deploy web api, or one or more type/name of one type.
`
	workloadKinds = `The types are namespaces, deployments, statefulsets, daemonsets, replicasets, replicationcontrollers, jobs, cronjobs and pods, and
their short names.`
)

// workloadFlags holds the flags of the commands about workloads.
type workloadFlags struct {
	scope
	window, output string
}

// register adds the flags to a command that writes a table or JSON.
func (f *workloadFlags) register(cmd *cobra.Command) {
	f.scope.register(cmd)
	windowFlag(cmd, &f.window)
	outputFlag(cmd, &f.output, "table", "json")
}

// request returns the request that the arguments and flags make, without the namespace.
func (f *workloadFlags) request(args []string) (req subject.Request, err error) {
	req = subject.Request{Selector: f.selector}
	if req.Window, err = checkWindow(f.window); err != nil {
		return req, err
	}
	if req.Targets, err = resource.Parse(args); err != nil {
		return req, err
	}
	if _, err := metav1.ParseToLabelSelector(f.selector); err != nil {
		return req, fmt.Errorf("--selector %q: %w", f.selector, err)
	}
	if f.allNamespaces && slices.ContainsFunc(req.Targets, func(t resource.Target) bool {
		return len(t.Names) > 0 && t.Kind.Name != resource.Namespace
	}) {
		return req, errors.New("a name and --all-namespaces exclude each other: give the namespace with -n")
	}
	return req, nil
}

// connect returns the complete request, and the cluster that it is about.
func (c *commands) connect(f *workloadFlags, args []string) (req subject.Request, cl *cluster.Client, err error) {
	if req, err = f.request(args); err != nil {
		return req, nil, err
	}
	if cl, err = c.Connect(); err != nil {
		return req, nil, err
	}
	req.Namespace = f.namespace(cl)
	return req, cl, nil
}

// view says how a command about workloads finds its rows and writes them.
type view[R any] struct {
	rows    func(context.Context, metrics.Source, resource.Lister, subject.Request) (subject.Result[R], error)
	asTable func(w io.Writer, rows []R, namespaces bool) error
	asJSON  func(io.Writer, []R) error
}

// report finds the rows of a command about workloads and writes them.
func report[R any](ctx context.Context, c *commands, args []string, f workloadFlags, v view[R]) error {
	req, cl, err := c.connect(&f, args)
	if err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := v.rows(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	return write(c, f.output, req, result.Rows, func(w io.Writer, rows []R) error {
		return v.asTable(w, rows, f.allNamespaces)
	}, v.asJSON)
}

// write writes rows as a table or as JSON. Instead of an empty table it prints noTraffic.
func write[R any](c *commands, output string, req subject.Request, rows []R, asTable,
	asJSON func(io.Writer, []R) error,
) error {
	switch {
	case output == "json":
		return asJSON(c.Out, rows)
	case len(rows) == 0:
		c.nothing(noTraffic, req.Namespace, req.Targets)
		return nil
	}
	return asTable(c.Out, rows)
}

// nothing prints text on stderr instead of an empty table. If the command line names no namespace, it adds which one
// was asked.
func (c *commands) nothing(text, namespace string, targets []resource.Target) {
	fmt.Fprintln(c.Err, text)
	namespaced := slices.ContainsFunc(targets, func(t resource.Target) bool { return t.Kind.Name != resource.Namespace })
	if namespace != "" && namespaced && c.Namespace() == "" {
		fmt.Fprintf(c.Err, "The namespace was %q; -n names another one.\n", namespace)
	}
}

// noTraffic is printed on stderr instead of an empty table.
const noTraffic = "No traffic found."
