package identity

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/ca"
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
	wake        <-chan struct{}
	log         *zap.Logger
}

func (k *keeper) Run(ctx context.Context) error {
	backoff := time.Second
	for {
		pause, err := k.settle(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			k.log.Error("issuer and trust anchors not kept", zap.Error(err))
			pause = backoff
			backoff = min(2*backoff, time.Minute)
		} else {
			backoff = time.Second
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
		var lastGood []byte
		if a, seq := k.authority.Load(); seq > 0 {
			lastGood = a.bundle
		}
		next, err := plan(e, k.own, lastGood, time.Now())
		if err != nil || next.action == wait {
			return next.pause, err
		}
		if err := k.do(ctx, next, e); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("issuer and trust anchors do not settle: somebody else writes them too")
}

// look reads the objects from the API server itself: what is written next depends on what is there now.
func (k *keeper) look(ctx context.Context) (estate, error) {
	var e estate
	var err error
	if e.issuer, err = found(k.client.CoreV1().Secrets(k.namespace).Get(ctx, mesh.IssuerSecret, metav1.GetOptions{})); err != nil {
		return e, fmt.Errorf("get issuer: %w", err)
	}
	if !k.own.externalIssuer {
		if e.anchor, err = found(k.client.CoreV1().Secrets(k.namespace).Get(ctx, anchorSecret, metav1.GetOptions{})); err != nil {
			return e, fmt.Errorf("get trust anchor: %w", err)
		}
	}
	if e.roots, err = found(k.client.CoreV1().ConfigMaps(k.namespace).Get(ctx, mesh.TrustRootsConfigMap, metav1.GetOptions{})); err != nil {
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
		k.log.Info("made a trust anchor", zap.Bool("rotation", e.issuer != nil))
		return k.applySecret(ctx, anchorSecret, pair, nil)
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

// applyRoots writes the bundle into namespace. Server-side apply, unlike create, is authorized by the object's name: the role holds it
// to this one (docs/rbac.md).
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
