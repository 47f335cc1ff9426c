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
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// fieldManager is who server-side apply says we are.
const fieldManager = "tulle-identity"

// maxSteps is more than any plan takes: making an anchor, a bundle and an issuer are three.
const maxSteps = 8

// keeper is the leader's part in namespace tulle: it does what plan says.
type keeper struct {
	client      kubernetes.Interface
	namespace   string
	trustDomain string
	own         ownership
	authority   *latest.Cell[*Authority]
	wake        latest.Signal
	tell        func(notice)
	missing     prometheus.Gauge // whether the trust anchor is
	log         *zap.Logger

	seen *corev1.Secret // the anchor's, as it was seen last
	told notice         // of the trouble there is, so that it is told once
}

func (k *keeper) Run(ctx context.Context) error {
	retry := backoff.Backoff{First: time.Second, Max: time.Minute}
	for {
		pause, err := k.settle(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			k.log.Error("issuer and trust anchors not kept", zap.Error(err))
			pause = retry.Next()
		} else {
			retry.Reset()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// settle plans and does until there is nothing to do, and returns how long that holds.
func (k *keeper) settle(ctx context.Context) (time.Duration, error) {
	for range maxSteps {
		e, err := k.look(ctx)
		if err != nil {
			return 0, err
		}
		next, err := plan(e, k.own, k.remember(e), time.Now())
		if err != nil {
			return 0, err
		}
		if next.action == wait {
			k.report(next.trouble)
			return next.pause, nil
		}
		if err := k.do(ctx, next, e); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("issuer and trust anchors do not settle: somebody else writes them too")
}

// remember returns what is known from before e, and keeps what will be needed after it.
func (k *keeper) remember(e estate) memory {
	var known memory
	if a, seq := k.authority.Load(); seq > 0 {
		known.bundle = a.bundle
	}
	switch {
	case e.anchor != nil:
		if _, err := tls.X509KeyPair(e.anchor.Data[corev1.TLSCertKey], e.anchor.Data[corev1.TLSPrivateKeyKey]); err == nil {
			k.seen = e.anchor
		}
	case e.issuer != nil && !isOurs(e.issuer):
		k.seen = nil // who gave the issuer took the anchor away, which has nothing left to sign
	}
	known.anchor = k.seen
	return known
}

// report tells a trouble when it begins.
func (k *keeper) report(t trouble) {
	k.missing.Set(0)
	if t.missing {
		k.missing.Set(1)
	}
	if t.notice != k.told && t.notice != (notice{}) {
		k.tell(t.notice)
	}
	k.told = t.notice
}

// look reads the objects from the API server itself: what is written next depends on what is there now.
func (k *keeper) look(ctx context.Context) (estate, error) {
	var e estate
	var err error
	if e.issuer, err = found(k.client.CoreV1().Secrets(k.namespace).Get(ctx, mesh.IssuerSecret,
		metav1.GetOptions{})); err != nil {
		return e, fmt.Errorf("get issuer: %w", err)
	}
	if !k.own.externalIssuer {
		if e.anchor, err = found(k.client.CoreV1().Secrets(k.namespace).Get(ctx, anchorSecret,
			metav1.GetOptions{})); err != nil {
			return e, fmt.Errorf("get trust anchor: %w", err)
		}
	}
	if e.roots, err = found(k.client.CoreV1().ConfigMaps(k.namespace).Get(ctx, mesh.TrustRootsConfigMap,
		metav1.GetOptions{})); err != nil {
		return e, fmt.Errorf("get trust anchors: %w", err)
	}
	return e, nil
}

// found returns nil for an object that does not exist.
func found[T any](obj *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return obj, nil
}

func (k *keeper) do(ctx context.Context, s step, e estate) error {
	switch s.action {
	case makeAnchor:
		pair, err := ca.NewAnchor(k.trustDomain, time.Now())
		if err != nil {
			return err
		}
		if err := k.applyAnchor(ctx, pair, asked(e.roots)); err != nil {
			return err
		}
		message := "made the trust anchor"
		if value := asked(e.roots); value != "" {
			message = fmt.Sprintf("made a new trust anchor, as %s=%s asks; it signs the issuer when it has reached the pods",
				replaceAnnotation, value)
		}
		k.tell(notice{reason: anchorMade, message: message})
		return nil
	case restoreAnchor:
		pair := ca.Pair{CertPEM: k.seen.Data[corev1.TLSCertKey], KeyPEM: k.seen.Data[corev1.TLSPrivateKeyKey]}
		if err := k.applyAnchor(ctx, pair, k.seen.Annotations[madeForAnnotation]); err != nil {
			return err
		}
		k.tell(notice{warning: true, reason: anchorRestored, message: fmt.Sprintf(
			"Secret %s was deleted while certificates under it are in use, and is there again; to replace the anchor, set %s "+
				"of ConfigMap %s",
			anchorSecret, replaceAnnotation, mesh.TrustRootsConfigMap)})
		return nil
	case writeRoots:
		k.log.Info("writing the bundle of trust anchors")
		return applyRoots(ctx, k.client, k.namespace, k.namespace, s.roots)
	case makeIssuer:
		pair, err := ca.NewIssuer(s.anchor, time.Now())
		if err != nil {
			return err
		}
		k.log.Info("made an issuer", zap.Bool("renewal", e.issuer != nil))
		return k.applySecret(ctx, mesh.IssuerSecret, pair, map[string]string{madeAnnotation: fingerprint(pair.CertPEM)})
	default:
		return nil
	}
}

// applyAnchor writes the anchor's Secret; madeFor is the value of replaceAnnotation that it answers, "" if none.
func (k *keeper) applyAnchor(ctx context.Context, pair ca.Pair, madeFor string) error {
	var annotations map[string]string
	if madeFor != "" {
		annotations = map[string]string{madeForAnnotation: madeFor}
	}
	return k.applySecret(ctx, anchorSecret, pair, annotations)
}

func (k *keeper) applySecret(ctx context.Context, name string, pair ca.Pair, annotations map[string]string) error {
	secret := applycore.Secret(name, k.namespace).
		WithType(corev1.SecretTypeTLS).
		WithLabels(map[string]string{mesh.ControlPlaneNSLabel: k.namespace, mesh.ControlPlaneComponentLabel: "identity"}).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: mesh.IdentityName}).
		WithAnnotations(annotations).
		WithData(map[string][]byte{corev1.TLSCertKey: pair.CertPEM, corev1.TLSPrivateKeyKey: pair.KeyPEM})
	if _, err := k.client.CoreV1().Secrets(k.namespace).Apply(ctx, secret, applyOptions()); err != nil {
		return fmt.Errorf("write Secret %s: %w", name, err)
	}
	return nil
}

// applyRoots writes the bundle into namespace. Server-side apply, unlike create, is authorized by the object's name:
// the role holds it to this one (docs/rbac.md).
func applyRoots(ctx context.Context, client kubernetes.Interface, namespace, controlPlane string, bundle []byte) error {
	roots := applycore.ConfigMap(mesh.TrustRootsConfigMap, namespace).
		WithLabels(map[string]string{mesh.ControlPlaneNSLabel: controlPlane, mesh.ControlPlaneComponentLabel: "identity"}).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: mesh.IdentityName}).
		WithData(map[string]string{mesh.TrustRootsKey: string(bundle)})
	if _, err := client.CoreV1().ConfigMaps(namespace).Apply(ctx, roots, applyOptions()); err != nil {
		return fmt.Errorf("write ConfigMap %s/%s: %w", namespace, mesh.TrustRootsConfigMap, err)
	}
	return nil
}

func applyOptions() metav1.ApplyOptions {
	return metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
}
