package viz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/stat"
)

// statFlags holds the flags of `viz stat`.
type statFlags struct {
	workloadFlags
	to, toNamespace           string
	from, fromNamespace       string
	unmeshed, versionMismatch bool
}

func (c *commands) statCommand() *cobra.Command {
	var f statFlags
	cmd := &cobra.Command{
		Use:   "stat RESOURCE [NAME...]",
		Short: "Show success rate, request rate and latency of resources",
		Long: `stat shows the success rate, the rate and the latency of requests, and open connections.

RESOURCE is a type such as deploy, a type and names such as deploy web api, one or more type/name, or all. The types are namespaces,
deployments, statefulsets, daemonsets, replicasets, replicationcontrollers, jobs, cronjobs, pods, services, authorities, servers,
serverauthorizations, authorizationpolicies, httproutes and grpcroutes, and their short names.

A workload has the numbers of the requests that it served. With --to or --from, the numbers are those of the requests that the client
sent, as its proxy saw them. Services and authorities always have the numbers that the proxies of their clients saw.`,
		Example: `  tulle viz stat deploy -n shop
  tulle viz stat deploy/web -n shop --to deploy/api
  tulle viz stat deploy -n shop --from deploy/web
  tulle viz stat svc -A -t 10m -o wide
  tulle viz stat --proxy-version-mismatch`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.stat(cmd, args, f) },
	}
	f.scope.register(cmd)
	windowFlag(cmd, &f.window)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "only requests that the resources sent to this one, as in deploy/api")
	flags.StringVar(&f.toNamespace, "to-namespace", "", "namespace of --to (default: that of the resources)")
	flags.StringVar(&f.from, "from", "", "only requests that this resource sent to the resources")
	flags.StringVar(&f.fromNamespace, "from-namespace", "", "namespace of --from (default: that of the resources)")
	flags.BoolVar(&f.unmeshed, "unmeshed", false, "show resources without a proxy too")
	flags.BoolVar(&f.versionMismatch, "proxy-version-mismatch", false,
		"only resources with a proxy of another version than the control plane; without RESOURCE, all pods")
	outputFlag(cmd, &f.output, "table", "wide", "json")
	return cmd
}

func (c *commands) stat(cmd *cobra.Command, args []string, f statFlags) error {
	ctx := cmd.Context()
	if len(args) == 0 && f.versionMismatch {
		args = []string{"pods"}
		f.allNamespaces = f.allNamespaces || !cmd.Flags().Changed("namespace")
	}
	req, err := f.request(args)
	if err != nil {
		return err
	}
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	req.Namespace = f.namespace(cl)
	if req.To, err = peer("to", f.to, f.toNamespace, req.Namespace); err != nil {
		return err
	}
	if req.From, err = peer("from", f.from, f.fromNamespace, req.Namespace); err != nil {
		return err
	}
	if f.versionMismatch {
		if req.NotVersion, err = c.controlVersion(ctx, cl); err != nil {
			return err
		}
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := stat.Rows(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	return c.printStat(result.Rows, req, f)
}

func (c *commands) printStat(rows []stat.Row, req stat.Request, f statFlags) error {
	options := stat.Options{Wide: f.output == "wide", Namespaces: f.allNamespaces, Versions: f.versionMismatch}
	if f.output == "json" {
		return stat.WriteJSON(c.Out, rows, options)
	}
	if len(rows) == 0 {
		text := noTraffic
		if req.NotVersion != "" {
			text = "No proxy of another version than " + req.NotVersion + " found."
		}
		c.nothing(text, req.Namespace, req.Targets)
		return nil
	}
	return stat.WriteTables(c.Out, rows, options)
}

// request returns the request that the arguments and flags make, as far as that needs no cluster.
func (f *statFlags) request(args []string) (req stat.Request, err error) {
	req.Unmeshed = f.unmeshed
	if req.Request, err = f.workloadFlags.request(args); err != nil {
		return req, err
	}
	if f.to != "" && f.from != "" {
		return req, errors.New("--to and --from exclude each other")
	}
	if f.to == "" && f.toNamespace != "" {
		f.to = "ns/" + f.toNamespace
	}
	if f.from == "" && f.fromNamespace != "" {
		f.from = "ns/" + f.fromNamespace
	}
	if f.to != "" && f.from != "" {
		return req, errors.New("--to-namespace and --from-namespace exclude each other")
	}
	return req, nil
}

// peer reads --to or --from, with the value of its namespace flag and the namespace otherwise. It is nil without a
// value.
func peer(flag, value, flagNamespace, namespace string) (*resource.Peer, error) {
	if value == "" {
		return nil, nil
	}
	if flagNamespace != "" {
		namespace = flagNamespace
	}
	p, err := resource.ParsePeer(flag, value, namespace)
	if err == nil && p.Name != "" && p.Namespace == "" && p.Kind.Name != resource.Namespace {
		return nil, fmt.Errorf("--%s %s: say in which namespace, with --%s-namespace", flag, value, flag)
	}
	return p, err
}

// controlVersion returns the version that the control plane runs, or an error if its pods run several.
func (c *commands) controlVersion(ctx context.Context, cl *cluster.Client) (string, error) {
	namespace := c.ControlNamespace()
	versions, err := cluster.Versions(ctx, cl, namespace, mesh.ControlPlaneComponentLabel,
		func(m metav1.ObjectMeta) string { return m.Labels[mesh.VersionLabel] })
	if err != nil {
		return "", fmt.Errorf("read the control plane's version: %w", err)
	}
	found := slices.Sorted(maps.Keys(versions))
	switch len(found) {
	case 0:
		return "", fmt.Errorf("read the control plane's version: no control-plane pods in namespace %s", namespace)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("read the control plane's version: it runs several versions: %s; finish its rollout first",
		strings.Join(found, ", "))
}
