package injector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// namespaceGetter finds what a decision needs to know of a namespace.
type namespaceGetter interface {
	namespace(ctx context.Context, name string) (inject.Namespace, error)
}

// tapOffers knows whether a namespace's tap server may watch proxies that do not say otherwise.
type tapOffers interface {
	offersTap(ctx context.Context, namespace string) bool
}

// ownerFinder finds the workload that a pod belongs to.
type ownerFinder interface {
	owner(ctx context.Context, namespace string, pod *corev1.Pod) (inject.Owner, corev1.ObjectReference)
}

// notifier takes an event; it never blocks.
type notifier interface {
	notify(e event)
}

// reviewer answers admission requests. It reads and never writes, but for events.
type reviewer struct {
	controlPlaneNamespace string
	values                func() inject.Values
	namespaces            namespaceGetter
	tap                   tapOffers
	owners                ownerFinder
	events                notifier
	metrics               *metrics
	log                   *zap.Logger
}

// reviewError is a request that gets no answer: the API server then does what the webhook's failure policy says.
type reviewError struct {
	reason string // label value
	status int
	err    error
}

func (e *reviewError) Error() string { return e.err.Error() }
func (e *reviewError) Unwrap() error { return e.err }

// review answers a decoded request. Any shape of input gives an answer or a *reviewError.
func (r *reviewer) review(ctx context.Context, in *admissionv1.AdmissionReview) (*admissionv1.AdmissionReview, error) {
	if in.APIVersion != admissionv1.SchemeGroupVersion.String() || in.Kind != "AdmissionReview" {
		return nil, &reviewError{errVersion, http.StatusBadRequest, fmt.Errorf("%s %s: want %s AdmissionReview",
			in.APIVersion, in.Kind, admissionv1.SchemeGroupVersion)}
	}
	req := in.Request
	if req == nil || req.UID == "" {
		return nil, &reviewError{errNoRequest, http.StatusBadRequest, errors.New("review has no request")}
	}
	resp, err := r.answer(ctx, req)
	if err != nil {
		return nil, err
	}
	resp.UID = req.UID
	return &admissionv1.AdmissionReview{TypeMeta: in.TypeMeta, Response: resp}, nil
}

func (r *reviewer) answer(ctx context.Context, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse,
	error) {
	core := req.Resource.Group == "" && req.Resource.Version == "v1" && req.SubResource == ""
	switch {
	case req.Operation != admissionv1.Create, req.Namespace == r.controlPlaneNamespace, !core:
	case req.Resource.Resource == "pods":
		return r.pod(ctx, req)
	case req.Resource.Resource == "services":
		return r.service(ctx, req)
	}
	return allow(nil), nil
}

func (r *reviewer) pod(ctx context.Context, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return nil, &reviewError{errBadObject, http.StatusBadRequest, fmt.Errorf("read pod: %w", err)}
	}
	ns, err := r.namespace(ctx, req.Namespace)
	if err != nil {
		return nil, err
	}
	d := inject.Decide(ns, &pod)
	owner, ref := inject.Owner{}, corev1.ObjectReference{}
	if d.Action == inject.Inject || d.Asked() {
		owner, ref = r.owners.owner(ctx, req.Namespace, &pod)
	}
	kind := owner.Kind
	if kind == "" {
		kind = "Pod"
	}
	r.metrics.observe(kind, ns.Name, d)
	dryRun := req.DryRun != nil && *req.DryRun

	switch d.Action {
	case inject.Deny:
		return r.deny(req, string(d.Reason), errors.New("injection is mandatory in this namespace, but "+d.Text())), nil
	case inject.Skip:
		if d.Asked() && !dryRun {
			r.events.notify(event{about: ref, reason: "InjectionSkipped", message: "Tulle proxy injection skipped: " + d.Text()})
		}
		resp, err := r.copyOpaquePorts(&pod, pod.Annotations, ns, inject.PodPorts(&pod))
		if err == nil && (d.Reason == inject.InvalidAtPod || d.Reason == inject.InvalidAtNS) {
			resp.Warnings = append(resp.Warnings, "no proxy is injected: "+d.Text())
		}
		if err == nil && d.Reason == inject.NotAnnotated {
			resp.Warnings = append(resp.Warnings, inject.Misspelled(ns.Annotations, pod.Annotations)...)
		}
		return resp, err
	}
	values := r.values()
	if values.Proxy.Tap.Enabled == inject.TapAuto {
		values.Proxy.Tap.Offered = r.tap.offersTap(ctx, values.Proxy.Tap.Namespace)
	}
	settings, err := inject.ParseSettings(values, ns.Annotations, pod.Annotations)
	if err == nil {
		_, err = inject.PodPorts(&pod).Opaque(pod.Annotations)
	}
	if err != nil {
		return r.deny(req, denyAnnotation, err), nil
	}
	after, warnings, err := inject.Apply(&pod, settings, d, req.Namespace, owner)
	if err != nil {
		return r.deny(req, denyPod, err), nil
	}
	resp, err := patched(&pod, after, append(settings.Warnings, warnings...))
	if err == nil && !dryRun {
		r.events.notify(event{about: ref, reason: "Injected", message: "Tulle sidecar proxy injected"})
	}
	return resp, err
}

func (r *reviewer) service(ctx context.Context, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse,
	error) {
	var svc corev1.Service
	if err := json.Unmarshal(req.Object.Raw, &svc); err != nil {
		return nil, &reviewError{errBadObject, http.StatusBadRequest, fmt.Errorf("read Service: %w", err)}
	}
	ns, err := r.namespace(ctx, req.Namespace)
	if err != nil {
		return nil, err
	}
	r.metrics.observe("Service", ns.Name, inject.Decision{Reason: inject.Unsupported})
	if err := inject.CheckService(&svc); err != nil {
		return r.deny(req, denyAnnotation, err), nil
	}
	resp, err := r.copyOpaquePorts(&svc, svc.Annotations, ns, inject.ServicePorts(&svc))
	if err == nil {
		resp.Warnings = append(resp.Warnings, inject.CheckServiceKeys(svc.Annotations)...)
	}
	return resp, err
}

func (r *reviewer) namespace(ctx context.Context, name string) (inject.Namespace, error) {
	ns, err := r.namespaces.namespace(ctx, name)
	if err != nil {
		return ns, &reviewError{errNamespace, http.StatusInternalServerError, fmt.Errorf("get namespace %q: %w", name, err)}
	}
	return ns, nil
}

// copyOpaquePorts answers for an object that gets no proxy and takes over its namespace's opaque ports.
func (r *reviewer) copyOpaquePorts(
	object metav1.Object, own map[string]string, ns inject.Namespace, declared inject.DeclaredPorts,
) (*admissionv1.AdmissionResponse, error) {
	value, ok := inject.OpaquePorts(r.values(), ns, own, declared)
	if !ok {
		return allow(nil), nil
	}
	type meta struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations,omitempty"`
		} `json:"metadata"`
	}
	var before, after meta
	before.Metadata.Annotations = own
	after.Metadata.Annotations = map[string]string{mesh.OpaquePortsAnnotation: value}
	for k, v := range own {
		after.Metadata.Annotations[k] = v
	}
	return patched(before, after, nil)
}

// maxWarnings is more than anybody reads. The API server hands on 4 KiB of them.
const maxWarnings = 20

func allow(warnings []string) *admissionv1.AdmissionResponse {
	if more := len(warnings) - maxWarnings; more > 0 {
		warnings = append(warnings[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more warnings", more))
	}
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
}

func patched(before, after any, warnings []string) (*admissionv1.AdmissionResponse, error) {
	patch, err := inject.Patch(before, after)
	if err != nil {
		return nil, &reviewError{errInternal, http.StatusInternalServerError, err}
	}
	resp := allow(warnings)
	if patch != nil {
		kind := admissionv1.PatchTypeJSONPatch
		resp.Patch, resp.PatchType = patch, &kind
	}
	return resp, nil
}

func (r *reviewer) deny(req *admissionv1.AdmissionRequest, reason string, err error) *admissionv1.AdmissionResponse {
	r.metrics.denials.WithLabelValues(reason).Inc()
	r.log.Info("refused", zap.String("namespace", req.Namespace), zap.String("kind", req.Kind.Kind),
		zap.String("name", req.Name),
		zap.String("reason", reason), zap.Error(err))
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: err.Error(),
	}}
}
