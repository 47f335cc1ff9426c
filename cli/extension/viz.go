package extension

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install/values"
	viz "github.com/tulle-mesh/tulle/viz/install"
)

// Viz says how to install the viz extension, and where.
type Viz struct {
	Target viz.Target
	installation.Changes
	// Registry is the prefix of the extension's own image; "" is that of the defaults.
	Registry string
	// Reuse starts from the values of the extension in the cluster, not from the defaults.
	Reuse bool
	// Cluster is nil if nobody asks it. Unreachable says why, if the user wanted to.
	Cluster     *cluster.Client
	Unreachable error
	// Log receives what the user should know; Verbose adds what was not found out.
	Log     io.Writer
	Verbose bool
}

func (o *Viz) debugf(format string, args ...any) {
	if o.Verbose {
		fmt.Fprintf(o.Log, format+"\n", args...)
	}
}

// Manifests returns the manifests of the extension. It asks the cluster whether it has a control plane, and an
// extension that these manifests would update or contradict. A cluster that does not answer is no obstacle: the
// manifests do not depend on it.
func (o *Viz) Manifests(ctx context.Context) ([]byte, error) {
	look, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
	defer cancel()
	mesh, err := o.checkCluster(look)
	if err != nil {
		return nil, err
	}
	overrides := viz.NewOverrides()
	before, err := o.installed(look)
	if err != nil {
		o.debugf("no viz extension found: %v", err)
	}
	if o.Reuse {
		if err != nil {
			return nil, fmt.Errorf("--reuse-values: read the extension in namespace %s: %w", o.Target.Namespace, err)
		}
		if err := overrides.Reuse(before.Data["install"]); err != nil {
			return nil, err
		}
	}
	if err := o.Apply(ctx, overrides.Overrides, o.applyRegistry); err != nil {
		return nil, err
	}
	v, warnings, err := overrides.Values()
	if err != nil {
		return nil, err
	}
	more, err := v.Validate()
	if err != nil {
		return nil, err
	}
	for _, w := range append(warnings, more...) {
		fmt.Fprintln(o.Log, "warning:", w)
	}
	o.compare(mesh, v)
	o.noteInstalled(before, overrides)
	return viz.Render(v, o.Target)
}

func (o *Viz) applyRegistry(overrides *values.Overrides) error {
	if o.Registry == "" {
		return nil
	}
	for _, part := range []string{"metricsAPI", "tap"} {
		if err := overrides.SetKey("--registry", part+".image.registry", strings.TrimSuffix(o.Registry, "/")); err != nil {
			return err
		}
	}
	return nil
}

// checkCluster refuses a cluster without a control plane, and a second extension. What a cluster does not answer is no
// obstacle. It returns the control plane's configuration; nil if it is not known.
func (o *Viz) checkCluster(ctx context.Context) (*corev1.ConfigMap, error) {
	if o.Cluster == nil {
		if o.Unreachable != nil {
			o.debugf("not looking at the cluster: %v", o.Unreachable)
		}
		return nil, nil
	}
	config, err := installation.Config(ctx, o.Cluster, o.Target.ControlNamespace)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf(
			"namespace %s has no control plane, whose proxies the extension needs: tulle install | kubectl "+
				"apply -f - (--ignore-cluster does not look)", o.Target.ControlNamespace)
	case err != nil:
		o.debugf("not known whether there is a control plane: %v", err)
		config = nil
	}
	switch namespaces, err := Namespaces(ctx, o.Cluster, viz.Extension); {
	case err != nil:
		o.debugf("not known whether the extension is installed: %v", err)
	case len(namespaces) > 0 && namespaces[0] != o.Target.Namespace:
		return nil, fmt.Errorf(
			"namespace %s has the label %s=%s already, and a cluster can have the extension once: remove that "+
				"one first: tulle viz uninstall | kubectl delete -f - (--ignore-cluster does not look)", namespaces[0], Label,
			viz.Extension)
	}
	return config, nil
}

// compare warns of settings of the control plane with which tap would not work.
func (o *Viz) compare(config *corev1.ConfigMap, v viz.Values) {
	if config == nil || !v.Tap.Enabled {
		return
	}
	mesh, err := installation.Values(config)
	if err != nil {
		o.debugf("not known what the control plane has: %v", err)
		return
	}
	if mesh.Proxy.Tap.Enabled == inject.TapOff {
		fmt.Fprintln(o.Log,
			"warning: proxy.tap.enabled of the control plane is false, so no proxy lets tap watch: set it to "+
				"auto: tulle install --reuse-values --set proxy.tap.enabled=auto | kubectl apply -f -")
	}
	for _, d := range []struct{ key, got, want string }{
		{"clusterDomain", v.ClusterDomain, mesh.ClusterDomain}, {"identityTrustDomain", v.TrustDomain(), mesh.TrustDomain()},
	} {
		if d.got != d.want {
			fmt.Fprintf(o.Log, "warning: %s is %s, and %s in the control plane: tap will not work: add --set %s=%s\n", d.key,
				d.got, d.want, d.key, d.want)
		}
	}
}

// installed returns the configuration of the extension in the cluster, or why there is none.
func (o *Viz) installed(ctx context.Context) (*corev1.ConfigMap, error) {
	switch {
	case o.Cluster != nil:
		return VizConfig(ctx, o.Cluster, o.Target.Namespace)
	case o.Unreachable != nil:
		return nil, o.Unreachable
	default:
		return nil, errors.New("the cluster was not asked")
	}
}

// noteInstalled logs when the manifests will update what is there, and which of its settings would be lost.
func (o *Viz) noteInstalled(before *corev1.ConfigMap, overrides *viz.Overrides) {
	if before == nil {
		return
	}
	lost, err := overrides.Lost(before.Data["install"])
	if err != nil {
		fmt.Fprintln(o.Log, "warning: settings of the extension may be lost:", err)
	}
	if len(lost) > 0 {
		fmt.Fprintf(o.Log, "warning: applying this output changes settings that this command does not name: %s.\n"+
			"  To keep them, add --reuse-values, or give them again.\n", strings.Join(lost, ", "))
	}
}

// VizConfig returns the ConfigMap with the values of the extension in a namespace; nil with an error. Its errors are
// the API server's.
func VizConfig(ctx context.Context, cl *cluster.Client, namespace string) (*corev1.ConfigMap, error) {
	config, err := cl.CoreV1().ConfigMaps(namespace).Get(ctx, viz.ConfigMap, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return config, nil
}

// VizExtraneous returns the objects of the extension in the cluster that this version would not install with the same
// values.
func VizExtraneous(ctx context.Context, cl *cluster.Client, t viz.Target) ([]installation.ObjectName, error) {
	namespace, err := Namespace(ctx, cl, viz.Extension)
	if err != nil {
		return nil, err
	}
	config, err := VizConfig(ctx, cl, namespace)
	if err != nil {
		return nil, fmt.Errorf("read the values of the extension: %w", err)
	}
	v, err := viz.ReadValues(config.Data["install"])
	if err != nil {
		return nil, err
	}
	t.Namespace = namespace
	manifests, err := viz.Render(v, t)
	if err != nil {
		return nil, err
	}
	wanted, err := Rendered(manifests)
	if err != nil {
		return nil, err
	}
	objects, err := Objects(ctx, cl, viz.Extension, namespace)
	if err != nil {
		return nil, err
	}
	return Without(objects, wanted), nil
}
