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
	"github.com/tulle-mesh/tulle/mesh"
)

// Options say what to install, and where.
type Options struct {
	Target install.Target
	// Render renders the manifests.
	Render install.Renderer
	Settings
	// CRDs leaves out all but the definitions of custom resources.
	CRDs bool
	// Reuse starts from the values of the installation in the cluster, not from the defaults. With Stored it starts from
	// those manifests and asks the cluster for no values.
	Reuse  bool
	Stored *Stored
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
	plan, err := MakePlan(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.CRDs {
		return plan.Definitions, nil
	}
	o.noteInstalled(plan.before, plan.overrides)
	look, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
	defer cancel()
	if warning, err := sharedWarning(look, o.Cluster, o.Target.Namespace); err != nil {
		o.debugf("not known who uses the namespace: %v", err)
	} else if warning != "" {
		fmt.Fprintln(o.Log, "warning:", warning)
	}
	return append(plan.Definitions, plan.ControlPlane...), nil
}

// Plan is what applying the manifests would make of the cluster.
type Plan struct {
	// Before is the configuration of the installation that the manifests update; nil if none was found.
	Before *corev1.ConfigMap
	Values install.Values
	// Definitions are the definitions of custom resources that the cluster lacks, ControlPlane the other manifests.
	Definitions, ControlPlane []byte

	before    installed
	overrides *install.Overrides
}

// MakePlan returns the manifests and what they were made of. It writes warnings about the values, and which definitions
// stay as they are, to the log.
func MakePlan(ctx context.Context, o Options) (*Plan, error) {
	look, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
	defer cancel()
	plan := &Plan{before: o.installed(look)}
	plan.Before = plan.before.config
	var err error
	if plan.overrides, err = o.overrides(ctx, plan.before); err != nil {
		return nil, err
	}
	if plan.Values, err = o.values(look, plan.overrides); err != nil {
		return nil, err
	}
	if err := o.checkElsewhere(look); err != nil {
		return nil, err
	}
	missing, notes, err := missingDefinitions(look, o.Cluster, o.Target, plan.Values.InstallGatewayAPI)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(o.Log, "note:", note)
	}
	plan.Definitions = install.RenderCRDs(missing)
	plan.ControlPlane, err = o.Render(plan.Values, o.Target)
	return plan, err
}

// installed is the configuration of the cluster's installation, or why there is none.
type installed struct {
	config *corev1.ConfigMap
	err    error
}

func (o *Options) installed(ctx context.Context) installed {
	if o.Stored != nil {
		return installed{config: o.Stored.Config}
	}
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
		if o.Stored != nil {
			if err := o.Stored.addIssuer(out); err != nil {
				return nil, err
			}
		}
	}
	return out, o.apply(ctx, out)
}

// values returns valid values, and logs what the user should know about them.
func (o *Options) values(ctx context.Context, overrides *install.Overrides) (install.Values, error) {
	values, warnings, err := overrides.Values()
	var retained install.IssuerTLS
	if errors.Is(err, install.ErrIssuerNotStored) && values.Identity.Issuer.TLS == retained {
		retained, err = o.ownIssuer(ctx, err)
		values.Identity.Issuer.TLS = retained
	}
	if err != nil {
		return values, err
	}
	more, err := values.Validate(time.Now())
	if err != nil {
		if retained != (install.IssuerTLS{}) {
			err = fmt.Errorf("with the issuer of Secret %s/%s: %w", o.Target.Namespace, mesh.IssuerSecret, err)
		}
		return values, err
	}
	if retained != (install.IssuerTLS{}) {
		// Manifests without the Secret leave it as it is, so the key stays where it was.
		values.Identity.Issuer.TLS = install.IssuerTLS{}
		fmt.Fprintf(o.Log, "note: the issuer stays as it is: Secret %s/%s is not part of this output\n", o.Target.Namespace,
			mesh.IssuerSecret)
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
		o.Target.Namespace, Version(before.config))
	lost, err := overrides.Lost(before.config.Data["install"])
	if err != nil {
		fmt.Fprintln(o.Log, "warning: settings of the installation may be lost:", err)
	}
	if len(lost) > 0 {
		fmt.Fprintf(o.Log, "warning: applying this output changes settings that this command does not name: %s.\n"+
			"  To keep them, add --reuse-values, or give them again.\n", strings.Join(lost, ", "))
	}
}
