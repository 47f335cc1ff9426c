package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) authzCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "authz KIND/NAME",
		Short: "List who may reach a workload",
		Long: `authz lists the Servers of a workload's pods, the routes on them, and what lets clients in to each: a row for every authorization of
every route. A route that is * stands for every request to the Server, and for its connections. A row without an authorization says
that nothing lets clients in there, so that the Server's accessPolicy decides, which is deny unless it says otherwise.

Like diagnostics endpoints it reads the cluster and runs the controller's own rules here. What is listed is in force; the status of
an object says why it is not, or why an earlier generation of it is.`,
		Example: `  tulle authz -n shop deploy/web
  tulle authz -o json ns/shop`,
		Args: aResource,
		RunE: func(cmd *cobra.Command, args []string) error { return c.authz(cmd.Context(), args, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "format: table or json")
	return cmd
}

// aResource wants kind/name or kind name.
func aResource(_ *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("name one resource, such as deploy/web")
	}
	return nil
}

// authzRow is one way in to a Server, or its lack.
type authzRow struct {
	Route               string `json:"route"`
	Server              string `json:"server"`
	Port                uint16 `json:"port"`
	AccessPolicy        string `json:"accessPolicy"`
	AuthorizationPolicy string `json:"authorizationPolicy,omitempty"`
	ServerAuthorization string `json:"serverAuthorization,omitempty"`
}

func (c *cli) authz(ctx context.Context, args []string, output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("output %q: want table or json", output)
	}
	r, pods, err := c.podsAndResolver(ctx, args)
	if err != nil {
		return err
	}
	rows := r.authzRows(pods)
	if output == "json" {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	if len(rows) == 0 {
		fmt.Fprintf(c.err, "No Server selects a port of these pods. The default holds: %s.\n", strings.Join(r.defaultsOf(pods), ", "))
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROUTE\tSERVER\tAUTHORIZATION_POLICY\tSERVER_AUTHORIZATION")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Route, row.Server, cmp.Or(row.AuthorizationPolicy, "-"), cmp.Or(row.ServerAuthorization, "-"))
	}
	return w.Flush()
}

// podsAndResolver reads the cluster, and which pods the arguments name.
func (c *cli) podsAndResolver(ctx context.Context, args []string) (*resolver, []corev1.Pod, error) {
	kind, name, err := cluster.ParseResource(args)
	if err != nil {
		return nil, nil, err
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return nil, nil, err
	}
	pods, err := cluster.PodsOf(ctx, cl, kind, name)
	if err != nil {
		return nil, nil, err
	}
	r, err := newResolver(ctx, cl, c.flags.controlNamespace)
	return r, pods, err
}

// inbound returns what the pod's proxy is told about the pod.
func (r *resolver) inbound(pod *corev1.Pod) *mesh.Inbound {
	q := model.QueryFor(r.store, r.snapshot, mesh.Target{}, mesh.Client{Namespace: pod.Namespace, Pod: pod.Name})
	return model.Resolve(r.store, r.snapshot, q).Inbound
}

// authzRows returns the rows of all pods, each once, by Server and route.
func (r *resolver) authzRows(pods []corev1.Pod) []authzRow {
	found := map[authzRow]bool{}
	for i := range pods {
		in := r.inbound(&pods[i])
		if in == nil {
			continue
		}
		for number, port := range in.Ports {
			if port.Server != (mesh.Ref{}) {
				addAuthzRows(found, number, port)
			}
		}
	}
	rows := slices.SortedFunc(maps.Keys(found), func(a, b authzRow) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.AuthorizationPolicy, b.AuthorizationPolicy), cmp.Compare(a.ServerAuthorization, b.ServerAuthorization))
	})
	if rows == nil {
		rows = []authzRow{}
	}
	return rows
}

func addAuthzRows(found map[authzRow]bool, number uint16, port mesh.PortPolicy) {
	add := func(route string, list []mesh.Authorization) {
		row := authzRow{Route: route, Server: port.Server.Name, Port: number, AccessPolicy: string(port.Policy)}
		if len(list) == 0 {
			found[row] = true
		}
		for _, a := range list {
			row.AuthorizationPolicy, row.ServerAuthorization = a.Ref.Name, ""
			if a.Ref.Kind == "ServerAuthorization" {
				row.AuthorizationPolicy, row.ServerAuthorization = "", a.Ref.Name
			}
			found[row] = true
		}
	}
	for _, r := range port.Routes {
		add(r.Route.Ref.Name, r.Authorizations)
	}
	if len(port.Authorizations) > 0 || len(port.Routes) == 0 {
		add("*", port.Authorizations)
	}
}

// defaultsOf returns the default policies of the pods, each once.
func (r *resolver) defaultsOf(pods []corev1.Pod) []string {
	var out []string
	for i := range pods {
		if in := r.inbound(&pods[i]); in != nil && !slices.Contains(out, string(in.Default.Policy)) {
			out = append(out, string(in.Default.Policy))
		}
	}
	slices.Sort(out)
	return out
}
