package upgrade

import (
	"context"
	"fmt"
	"io"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
)

// Prune returns the objects of the installation that its values do not make any more, in the order in which they can be
// deleted. It refuses a CLI of another version than the installation's: that one may use other objects.
func Prune(ctx context.Context, cl *cluster.Client, render install.Renderer, t install.Target,
	log io.Writer) ([]installation.ObjectName, error) {
	config, err := installation.Config(ctx, cl, t.Namespace)
	if err != nil {
		return nil, notInstalled(t.Namespace, err)
	}
	if have := installation.Version(config); have != t.Version {
		return nil, fmt.Errorf("the installation has version %s, and this CLI is %s: upgrade first (tulle upgrade | kubectl "+
			"apply -f -), or use the CLI of %s", have, t.Version, have)
	}
	plan, err := installation.MakePlan(ctx, installation.Options{Target: t, Reuse: true, Cluster: cl, Log: io.Discard,
		Render: render})
	if err != nil {
		return nil, err
	}
	objects, err := installation.Obsolete(ctx, cl, t.Namespace, plan.ControlPlane)
	if err != nil {
		return nil, err
	}
	definitions, notes, err := installation.ObsoleteDefinitions(ctx, cl, t)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(log, "note:", note)
	}
	return append(objects, definitions...), nil
}
