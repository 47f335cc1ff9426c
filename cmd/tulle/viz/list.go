package viz

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/extension"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/table"
)

func (c *commands) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the pods whose traffic can be watched, and those whose cannot",
		Long: `list sorts the pods by whether tap can watch their requests, and says why it cannot. Numbers, as in stat, are known of all pods
with a proxy.`,
		Example: `  tulle viz list -n shop
  tulle viz list -A`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q: %s takes no arguments; -n names a namespace", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.list(cmd, all) },
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "every namespace; -n is not used")
	return cmd
}

// The headings of list, in their order.
const (
	tapEnabled  = "Pods with tap enabled:"
	tapLater    = "Pods that tap can watch after a restart (kubectl -n NAMESPACE rollout restart deploy,sts,ds):"
	tapDisabled = "Pods with tap disabled (by an annotation, or there is no tap in the installation):"
	notRunning  = "Pods whose proxy does not run:"
	noProxy     = "Pods without a proxy (inject them to see their traffic):"
)

func (c *commands) list(cmd *cobra.Command, all bool) error {
	ctx := cmd.Context()
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return err
	}
	namespace := cl.Namespace
	if all {
		namespace = ""
	}
	lister := objects.New(cl, c.ControlNamespace())
	pods, err := lister.List(ctx, kind, namespace, "")
	if err != nil {
		return err
	}
	resource.Sort(pods)
	later, err := c.afterRestart(ctx, cl, lister, namespace)
	if err != nil {
		return err
	}
	sections := map[string][]string{}
	for _, o := range pods {
		if p := o.Pods[0]; !p.Finished {
			h := heading(p)
			if h == tapDisabled && later[o.Namespace+"/"+o.Name] {
				h = tapLater
			}
			sections[h] = append(sections[h], o.Namespace+"/"+o.Name)
		}
	}
	if len(sections) == 0 {
		if err := resource.CheckNamespace(ctx, lister, namespace); err != nil {
			return err
		}
		fmt.Fprintln(c.Err, "No pods found.")
		return nil
	}
	var parts []string
	for _, h := range []string{tapEnabled, tapLater, tapDisabled, notRunning, noProxy} {
		if names := sections[h]; len(names) > 0 {
			part := h + "\n"
			for _, name := range names {
				part += "\t* " + table.Safe(name) + "\n"
			}
			parts = append(parts, part)
		}
	}
	_, err = fmt.Fprint(c.Out, strings.Join(parts, "\n"))
	return err
}

// afterRestart returns the pods that tap can watch after a restart, as namespace/name. A user who may not read what the
// injector knows gets none.
func (c *commands) afterRestart(ctx context.Context, cl *cluster.Client, lister *objects.Cluster, namespace string) (
	map[string]bool, error,
) {
	rule, err := extension.ReadTapRule(ctx, cl, c.ControlNamespace())
	if err != nil {
		return nil, nil
	}
	pods, err := lister.Pods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	later := map[string]bool{}
	for i := range pods {
		later[pods[i].Namespace+"/"+pods[i].Name] = rule.AfterRestart(&pods[i])
	}
	return later, nil
}

func heading(p resource.Pod) string {
	switch {
	case !p.Meshed:
		return noProxy
	case !p.Running:
		return notRunning
	case !p.Tapped:
		return tapDisabled
	}
	return tapEnabled
}
