package installation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
)

// Options say what to install, and where.
type Options struct {
	Target install.Target
	// Render renders the manifests.
	Render install.Renderer
	Settings
	// CRDs leaves out all but the definitions of custom resources.
	CRDs bool
	// Reuse starts from the values of the installation in the cluster, not from the defaults.
	Reuse bool
	// Cluster is nil if nobody asks it. Unreachable says why, if the user wanted to.
	Cluster     *cluster.Client
	Unreachable error
	// Log receives what the user should know; Verbose adds what was not found out.
	Log     io.Writer
	Verbose bool
}

func (o *Options) debugf(format string, args ...any) {
	if o.Verbose {
		fmt.Fprintf(o.Log, format+"\n", args...)
	}
}

// Manifests returns the manifests of the control plane, after the definitions that the cluster lacks. It asks the
// cluster whether they would update or contradict an installation. A cluster that does not answer is no obstacle: the
// manifests of the control plane do not depend on it.
func Manifests(ctx context.Context, o Options) ([]byte, error) {
	if o.Unreachable != nil {
		o.debugf("not looking at the cluster: %v", o.Unreachable)
	}
	look, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
	defer cancel()
	before := o.installed(look)
	overrides, err := o.overrides(ctx, before)
	if err != nil {
		return nil, err
	}
	values, err := o.values(overrides)
	if err != nil {
		return nil, err
	}
	if err := o.checkElsewhere(look); err != nil {
		return nil, err
	}
	missing, notes, err := missingDefinitions(look, o.Cluster, o.Target, values.InstallGatewayAPI)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(o.Log, "note:", note)
	}
	manifests := install.RenderCRDs(missing)
	if o.CRDs {
		return manifests, nil
	}
	o.noteInstalled(before, overrides)
	if warning, err := sharedWarning(look, o.Cluster, o.Target.Namespace); err != nil {
		o.debugf("not known who uses the namespace: %v", err)
	} else if warning != "" {
		fmt.Fprintln(o.Log, "warning:", warning)
	}
	rest, err := o.Render(values, o.Target)
	if err != nil {
		return nil, err
	}
	return append(manifests, rest...), nil
}

// installed is the configuration of the cluster's installation, or why there is none.
type installed struct {
	config *corev1.ConfigMap
	err    error
}

func (o *Options) installed(ctx context.Context) installed {
	if o.Cluster == nil {
		return installed{err: cmp.Or(o.Unreachable, errors.New("the cluster was not asked"))}
	}
	config, err := Config(ctx, o.Cluster, o.Target.Namespace)
	return installed{config, err}
}

// overrides applies the installation's values if they are asked for, then the settings.
func (o *Options) overrides(ctx context.Context, before installed) (*install.Overrides, error) {
	out := install.NewOverrides()
	if o.Reuse {
		if before.err != nil {
			return nil, fmt.Errorf("--reuse-values: read the installation in namespace %s: %w", o.Target.Namespace, before.err)
		}
		if err := out.Reuse(before.config.Data["install"]); err != nil {
			return nil, err
		}
	}
	return out, o.apply(ctx, out)
}

// values returns valid values, and logs what the user should know about them.
func (o *Options) values(overrides *install.Overrides) (install.Values, error) {
	values, warnings, err := overrides.Values()
	if err != nil {
		return values, err
	}
	more, err := values.Validate(time.Now())
	if err != nil {
		return values, err
	}
	for _, w := range append(warnings, more...) {
		fmt.Fprintln(o.Log, "warning:", w)
	}
	return values, nil
}

// checkElsewhere refuses a second installation in the cluster. What a cluster does not answer is no obstacle.
func (o *Options) checkElsewhere(ctx context.Context) error {
	switch err := CheckElsewhere(ctx, o.Cluster, o.Render, o.Target); {
	case errors.As(err, new(*ElsewhereError)):
		return fmt.Errorf("%w (--ignore-cluster does not look)", err)
	case apierrors.IsForbidden(err):
		fmt.Fprintln(o.Log, "note: not known whether another namespace has an installation:", err)
	case err != nil:
		o.debugf("other namespaces not asked for an installation: %v", err)
	}
	return nil
}

// noteInstalled logs when the manifests will update what is there, and which of its settings would be lost.
func (o *Options) noteInstalled(before installed, overrides *install.Overrides) {
	if before.err != nil {
		o.debugf("no installation found: %v", before.err)
		return
	}
	fmt.Fprintf(o.Log, "Tulle is already installed in namespace %q (%s); applying this output updates it.\n",
		o.Target.Namespace, strings.TrimPrefix(before.config.Annotations["linkerd.io/created-by"], "tulle/cli "))
	lost, err := overrides.Lost(before.config.Data["install"])
	if err != nil {
		fmt.Fprintln(o.Log, "warning: settings of the installation may be lost:", err)
	}
	if len(lost) > 0 {
		fmt.Fprintf(o.Log, "warning: applying this output changes settings that this command does not name: %s.\n"+
			"  To keep them, add --reuse-values, or give them again.\n", strings.Join(lost, ", "))
	}
}
