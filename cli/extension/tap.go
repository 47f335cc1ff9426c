package extension

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// TapRule says whom the injector would let watch a pod now.
type TapRule struct {
	controlNamespace string
	defaults         inject.Values
	namespaces       map[string]inject.Namespace
}

// ReadTapRule reads what the injector knows: the defaults of the installation, the annotations of namespaces, and who
// serves tap.
func ReadTapRule(ctx context.Context, cl *cluster.Client, controlNamespace string) (*TapRule, error) {
	config, err := installation.Config(ctx, cl, controlNamespace)
	if err != nil {
		return nil, fmt.Errorf("read the installation's defaults: %w", err)
	}
	r := &TapRule{controlNamespace: controlNamespace, namespaces: map[string]inject.Namespace{}}
	if r.defaults, err = inject.ParseValues([]byte(config.Data["values"])); err != nil {
		return nil, fmt.Errorf("read the installation's defaults: %w", err)
	}
	list, err := cl.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).
		List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	for _, ns := range list.Items {
		r.namespaces[ns.Name] = inject.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	}
	service, err := cl.Dynamic.Resource(inject.APIServices).Get(ctx, mesh.TapAPIService, metav1.GetOptions{})
	switch {
	case err == nil:
		r.defaults.Proxy.Tap.Offered = inject.OffersTap(service, r.defaults.Proxy.Tap.Namespace)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read APIService %s: %w", mesh.TapAPIService, err)
	}
	return r, nil
}

// AfterRestart reports whether the tap server cannot watch the pod's proxy, and could if the pod was injected now.
func (r *TapRule) AfterRestart(pod *corev1.Pod) bool {
	id, known := r.now(pod)
	return known && id != "" && sidecar.TapID(pod) == ""
}

// Outdated returns the identity that may watch the pod's proxy and could not if the pod was injected now, for example
// because the extension was removed. It returns "" if there is none.
func (r *TapRule) Outdated(pod *corev1.Pod) string {
	accepted := sidecar.TapID(pod)
	if id, known := r.now(pod); known && id != accepted {
		return accepted
	}
	return ""
}

// now returns the identity that could watch the pod's proxy if the pod was injected now; "" is nobody. It is not known
// for a pod without a proxy of this control plane, and for one that the injector would refuse.
func (r *TapRule) now(pod *corev1.Pod) (id string, known bool) {
	if sidecar.Of(pod) == nil || pod.Labels[mesh.ControlPlaneNSLabel] != r.controlNamespace {
		return "", false
	}
	settings, err := inject.ParseSettings(r.defaults, r.namespaces[pod.Namespace].Annotations, pod.Annotations)
	if err != nil {
		return "", false
	}
	return settings.TapID(), true
}
