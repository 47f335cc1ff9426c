package identity

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// fieldManager is the controller's name in server-side apply.
const fieldManager = "tulle-identity"

// maxSteps bounds the steps of one plan. The longest plan has three: an anchor, a bundle and an issuer.
const maxSteps = 8

// reconciler does the leader's work in namespace tulle: the steps of plan.
type reconciler struct {
	client      kubernetes.Interface
	namespace   string
	trustDomain string
	own         ownership
	authority   *latest.Cell[*Authority]
	wake        latest.Signal
	announce    func(notice)
	missing     prometheus.Gauge // 1 if the trust anchor is missing
	log         *zap.Logger

	seen     *corev1.Secret // the anchor's Secret at the last look
	reported notice         // the current problem, so that it is reported once
}

func (r *reconciler) Run(ctx context.Context) error {
	retry := backoff.Backoff{First: time.Second, Max: time.Minute}
	for {
		pause, err := r.reconcile(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.log.Error("failed to reconcile issuer and trust anchors", zap.Error(err))
			pause = retry.Next()
		} else {
			retry.Reset()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// reconcile does the steps of plan until none is left. It returns the time until the next check.
func (r *reconciler) reconcile(ctx context.Context) (time.Duration, error) {
	for range maxSteps {
		e, err := r.look(ctx)
		if err != nil {
			return 0, err
		}
		next, err := plan(e, r.own, r.remember(e), time.Now())
		if err != nil {
			return 0, err
		}
		if next.action == wait {
			r.report(next.problem)
			return next.pause, nil
		}
		if err := r.do(ctx, next, e); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("reconcile issuer and trust anchors: more than %d steps: something else writes them too",
		maxSteps)
}

// remember returns what was known before e, and stores the anchor of e.
func (r *reconciler) remember(e observed) lastKnown {
	var known lastKnown
	if a, seq := r.authority.Load(); seq > 0 {
		known.bundle = a.bundle
	}
	switch {
	case e.anchor != nil:
		if _, err := tls.X509KeyPair(e.anchor.Data[corev1.TLSCertKey], e.anchor.Data[corev1.TLSPrivateKeyKey]); err == nil {
			r.seen = e.anchor
		}
	case e.issuer != nil && !isOurs(e.issuer):
		r.seen = nil // with an external issuer, the anchor signs nothing
	}
	known.anchor = r.seen
	return known
}

// report announces a problem when it begins.
func (r *reconciler) report(t problem) {
	r.missing.Set(0)
	if t.missing {
		r.missing.Set(1)
	}
	if t.notice != r.reported && t.notice != (notice{}) {
		r.announce(t.notice)
	}
	r.reported = t.notice
}

// look reads the objects from the API server and not from a cache, because the next write depends on them.
func (r *reconciler) look(ctx context.Context) (observed, error) {
	var e observed
	var err error
	if e.issuer, err = found(r.client.CoreV1().Secrets(r.namespace).Get(ctx, mesh.IssuerSecret,
		metav1.GetOptions{})); err != nil {
		return e, fmt.Errorf("get issuer: %w", err)
	}
	if !r.own.externalIssuer {
		if e.anchor, err = found(r.client.CoreV1().Secrets(r.namespace).Get(ctx, anchorSecret,
			metav1.GetOptions{})); err != nil {
			return e, fmt.Errorf("get trust anchor: %w", err)
		}
	}
	if e.roots, err = found(r.client.CoreV1().ConfigMaps(r.namespace).Get(ctx, mesh.TrustRootsConfigMap,
		metav1.GetOptions{})); err != nil {
		return e, fmt.Errorf("get trust anchors: %w", err)
	}
	return e, nil
}

// found returns nil for an object that does not exist, and other errors.
func found[T any](obj *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return obj, nil
}

func (r *reconciler) do(ctx context.Context, s step, e observed) error {
	switch s.action {
	case makeAnchor:
		pair, err := ca.NewAnchor(r.trustDomain, time.Now())
		if err != nil {
			return err
		}
		if err := r.applyAnchor(ctx, pair, replaceRequest(e.roots)); err != nil {
			return err
		}
		message := "made the trust anchor"
		if value := replaceRequest(e.roots); value != "" {
			message = fmt.Sprintf("made a new trust anchor, as %s=%s asks; it signs the issuer when it has reached the pods",
				replaceAnnotation, value)
		}
		r.announce(notice{reason: anchorMade, message: message})
		return nil
	case restoreAnchor:
		pair := ca.Pair{CertPEM: r.seen.Data[corev1.TLSCertKey], KeyPEM: r.seen.Data[corev1.TLSPrivateKeyKey]}
		if err := r.applyAnchor(ctx, pair, r.seen.Annotations[madeForAnnotation]); err != nil {
			return err
		}
		r.announce(notice{warning: true, reason: anchorRestored, message: fmt.Sprintf(
			"Secret %s was deleted while certificates under it are in use, and was restored; to replace the anchor, set %s "+
				"of ConfigMap %s",
			anchorSecret, replaceAnnotation, mesh.TrustRootsConfigMap)})
		return nil
	case writeRoots:
		r.log.Info("writing the bundle of trust anchors")
		return applyRoots(ctx, r.client, r.namespace, r.namespace, map[string]string{mesh.TrustRootsKey: string(s.roots)})
	case makeIssuer:
		pair, err := ca.NewIssuer(s.anchor, time.Now())
		if err != nil {
			return err
		}
		r.log.Info("made an issuer", zap.Bool("renewal", e.issuer != nil))
		return r.applySecret(ctx, mesh.IssuerSecret, pair, map[string]string{madeAnnotation: fingerprint(pair.CertPEM)})
	default:
		return nil
	}
}

// applyAnchor writes the anchor's Secret. madeFor is the value of replaceAnnotation that requested the anchor, or "".
func (r *reconciler) applyAnchor(ctx context.Context, pair ca.Pair, madeFor string) error {
	var annotations map[string]string
	if madeFor != "" {
		annotations = map[string]string{madeForAnnotation: madeFor}
	}
	return r.applySecret(ctx, anchorSecret, pair, annotations)
}

func (r *reconciler) applySecret(ctx context.Context, name string, pair ca.Pair, annotations map[string]string) error {
	secret := applycore.Secret(name, r.namespace).
		WithType(corev1.SecretTypeTLS).
		WithLabels(map[string]string{mesh.ControlPlaneNSLabel: r.namespace, mesh.ControlPlaneComponentLabel: "identity"}).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: mesh.IdentityName}).
		WithAnnotations(annotations).
		WithData(map[string][]byte{corev1.TLSCertKey: pair.CertPEM, corev1.TLSPrivateKeyKey: pair.KeyPEM})
	if _, err := r.client.CoreV1().Secrets(r.namespace).Apply(ctx, secret, applyOptions()); err != nil {
		return fmt.Errorf("write Secret %s: %w", name, err)
	}
	return nil
}

// applyRoots writes the bundle into namespace. The API server authorizes server-side apply by the object's name, unlike
// create. So the role allows this one name only (docs/rbac.md).
func applyRoots(ctx context.Context, client kubernetes.Interface, namespace, controlPlane string,
	data map[string]string) error {
	roots := applycore.ConfigMap(mesh.TrustRootsConfigMap, namespace).
		WithLabels(map[string]string{mesh.ControlPlaneNSLabel: controlPlane, mesh.ControlPlaneComponentLabel: "identity"}).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: mesh.IdentityName}).
		WithData(data)
	if _, err := client.CoreV1().ConfigMaps(namespace).Apply(ctx, roots, applyOptions()); err != nil {
		return fmt.Errorf("write ConfigMap %s/%s: %w", namespace, mesh.TrustRootsConfigMap, err)
	}
	return nil
}

// applyIssuerKey writes the key of the issuer beside a bundle that has another owner. It creates nothing.
func applyIssuerKey(ctx context.Context, client kubernetes.Interface, namespace, key string) error {
	patch := fmt.Appendf(nil, `{"data":{%q:%q}}`, mesh.IssuerKeyKey, key)
	if _, err := client.CoreV1().ConfigMaps(namespace).Patch(ctx, mesh.TrustRootsConfigMap, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager + "-issuer"}); err != nil {
		return fmt.Errorf("write ConfigMap %s/%s: %w", namespace, mesh.TrustRootsConfigMap, err)
	}
	return nil
}

func applyOptions() metav1.ApplyOptions {
	return metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
}
