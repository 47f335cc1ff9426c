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
		Short: "List the pods that tap can watch, and those that it cannot",
		Long: `list groups the pods by whether tap can watch their requests, and says why not. stat and the other commands with numbers work for
all pods with a proxy.`,
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
	tapOutdated = "Pods that another identity than the extension's may watch until a restart " +
		"(kubectl -n NAMESPACE rollout restart deploy,sts,ds):"
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
	restart, err := c.readRestart(ctx, cl, lister, namespace)
	if err != nil {
		return err
	}
	sections := map[string][]string{}
	for _, o := range pods {
		if p := o.Pods[0]; !p.Finished {
			name, h := o.Namespace+"/"+o.Name, heading(p)
			line := name
			switch id := restart.outdated[name]; {
			case h == tapDisabled && restart.tapped[name]:
				h = tapLater
			case h == tapEnabled && id != "":
				h, line = tapOutdated, name+": "+id
			}
			sections[h] = append(sections[h], line)
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
	for _, h := range []string{tapEnabled, tapOutdated, tapLater, tapDisabled, notRunning, noProxy} {
		if lines := sections[h]; len(lines) > 0 {
			part := h + "\n"
			for _, line := range lines {
				part += "\t* " + table.Safe(line) + "\n"
			}
			parts = append(parts, part)
		}
	}
	_, err = fmt.Fprint(c.Out, strings.Join(parts, "\n"))
	return err
}

// restart says what a restart of pods would change. Keys are namespace/name.
type restart struct {
	// tapped has the pods that tap can watch only after a restart.
	tapped map[string]bool
	// outdated has the identity that may watch a pod only until a restart.
	outdated map[string]string
}

// readRestart compares the pods with what the injector would make of them now. It returns nothing if the user may not
// read the injector's settings.
func (c *commands) readRestart(ctx context.Context, cl *cluster.Client, lister *objects.Reader, namespace string) (
	restart, error,
) {
	rule, err := extension.ReadTapRule(ctx, cl, c.ControlNamespace())
	if err != nil {
		return restart{}, nil
	}
	pods, err := lister.Pods(ctx, namespace)
	if err != nil {
		return restart{}, err
	}
	r := restart{map[string]bool{}, map[string]string{}}
	for i := range pods {
		name := pods[i].Namespace + "/" + pods[i].Name
		r.tapped[name], r.outdated[name] = rule.AfterRestart(&pods[i]), rule.Outdated(&pods[i])
	}
	return r, nil
}

func heading(p resource.Pod) string {
	switch {
	case !p.Meshed:
		return noProxy
	case !p.Running:
		return notRunning
	case !p.TapEnabled:
		return tapDisabled
	}
	return tapEnabled
}
