package injector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/servingcert"
	"github.com/tulle-mesh/tulle/mesh"
)

// secretName is the Secret that the replicas share.
const secretName = mesh.InjectorSecret

// upkeep keeps the certificate of the webhook valid and the webhook configurations true.
type upkeep struct {
	*servingcert.Manager
	client    kubernetes.Interface
	namespace string
	optedIn   func() (names []string, own types.UID)
	values    func() inject.Values
	log       *zap.Logger
}

// newUpkeep returns the upkeep of the webhook of a control plane's namespace. Its optedIn is to be set before it runs.
func newUpkeep(cfg Config, values func() inject.Values, m *metrics, now func() time.Time) *upkeep {
	u := &upkeep{client: cfg.Client, namespace: cfg.Namespace, values: values, log: cfg.Log}
	u.Manager = servingcert.New(servingcert.Config{
		Client: cfg.Client, Namespace: cfg.Namespace, Secret: secretName, Service: mesh.InjectorName,
		SecretLabels: map[string]string{mesh.ControlPlaneNSLabel: cfg.Namespace,
			mesh.ControlPlaneComponentLabel: "proxy-injector"},
		Owner: mesh.InjectorName, Announce: u.announce,
		Failed:  m.failures.WithLabelValues("upkeep").Inc,
		Serving: func(expires time.Time) { m.expiry.Set(float64(expires.Unix())) },
		Now:     now, Log: cfg.Log,
	})
	return u
}

// watch pokes on every change of the Secret and of the webhook configurations until ctx ends.
func (u *upkeep) watch(ctx context.Context, client metadata.Interface) error {
	configurations := admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")
	return u.Watch(ctx, client, servingcert.Object{Resource: configurations, Name: configurationName},
		servingcert.Object{Resource: configurations, Name: optedInName})
}

// announce writes the webhook configurations where they do not say what they should.
func (u *upkeep) announce(ctx context.Context, authorities []byte) error {
	optedIn, own := u.optedIn()
	a := announcement{bundle: authorities, optedIn: optedIn, policy: u.values().WebhookFailurePolicy}
	base, err := u.announceBundle(ctx, a)
	if err != nil {
		return fmt.Errorf("keep webhook configuration %s: %w", configurationName, err)
	}
	next, err := a.optedInConfiguration(base)
	if err != nil {
		return fmt.Errorf("read webhook configuration %s: %w", configurationName, err)
	}
	written, err := u.announceOptedIn(ctx, next)
	if err != nil {
		return fmt.Errorf("keep webhook configuration %s: %w", optedInName, err)
	}
	return errors.Join(u.adopt(ctx, base, own), u.adopt(ctx, written, own))
}

func (u *upkeep) announceBundle(ctx context.Context, a announcement) (*configuration, error) {
	configurations := u.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	for {
		current, err := configurations.Get(ctx, configurationName, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		next := a.withBundle(current)
		if equality.Semantic.DeepEqual(current, next) {
			return current, nil
		}
		next, err = configurations.Update(ctx, next, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			continue // bounded by ctx
		}
		if err == nil {
			u.log.Info("certificate authorities announced", zap.Int("webhooks", len(next.Webhooks)))
		}
		return next, err
	}
}

// announceOptedIn applies on the server's side, so that RBAC holds the injector to this one configuration: unlike a
// POST, that is authorized by name even where it creates.
func (u *upkeep) announceOptedIn(ctx context.Context, next *configuration) (*configuration, error) {
	configurations := u.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	current, err := configurations.Get(ctx, optedInName, metav1.GetOptions{})
	switch {
	case err == nil && equality.Semantic.DeepEqual(current.Webhooks, next.Webhooks):
		return current, nil
	case err != nil && !apierrors.IsNotFound(err):
		return nil, err
	}
	text, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	force := true
	next, err = configurations.Patch(ctx, optedInName, types.ApplyPatchType, text,
		metav1.PatchOptions{FieldManager: mesh.InjectorName, Force: &force})
	if err == nil {
		u.log.Info("namespaces that opted in announced", zap.Int("webhooks", len(next.Webhooks)))
	}
	return next, err
}

// adopt makes the control plane's namespace the owner of a configuration, so that deleting the namespace does not leave
// behind a webhook that refuses pods. A cluster may forbid it; then `tulle uninstall` is the way to remove it.
func (u *upkeep) adopt(ctx context.Context, config *configuration, own types.UID) error {
	if own == "" || len(config.OwnerReferences) > 0 {
		return nil
	}
	patch := fmt.Appendf(nil,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":%q,"uid":%q}]}}`,
		u.namespace, own)
	_, err := u.client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(ctx, config.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsForbidden(err) {
		u.log.Debug("webhook configuration not adopted", zap.String("name", config.Name), zap.Error(err))
		return nil
	}
	return err
}
