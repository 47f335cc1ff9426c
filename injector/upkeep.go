package injector

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// secretName is the Secret that the replicas share; see credentials.
const secretName = mesh.InjectorSecret

// Times of upkeep.
const (
	upkeepEvery  = 30 * time.Minute // the longest time between two looks, for what no watch reports: the clock
	upkeepRetry  = time.Second      // after the first failure; doubled up to upkeepMax
	upkeepMax    = time.Minute
	upkeepRate   = 1 // looks a second, with a burst for the start
	upkeepBurst  = 10
	requestLimit = 15 * time.Second
)

// upkeep keeps the shared credentials valid and the webhook configuration true, in this order, and only then serves a
// new certificate: an API server always trusts what it meets. Every replica runs it. They need no leader, because all
// of them derive the same from the same objects and the API server refuses a write that was based on an old version.
type upkeep struct {
	client    kubernetes.Interface
	namespace string
	optedIn   func() (names []string, own types.UID)
	values    func() inject.Values
	now       func() time.Time
	metrics   *metrics
	log       *zap.Logger

	wake    latest.Signal // a look is due
	serving atomic.Pointer[tls.Certificate]
}

// dnsName is what API servers verify: the name of the Service in the webhook configuration.
func (u *upkeep) dnsName() string { return mesh.InjectorName + "." + u.namespace + ".svc" }

// poke asks for a look soon. It never blocks.
func (u *upkeep) poke() { u.wake.Notify() }

// certificate serves the newest announced certificate.
func (u *upkeep) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := u.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no certificate yet")
}

// run looks whenever something changed or time has come, until ctx ends; done is called after the first success.
func (u *upkeep) run(ctx context.Context, done func()) error {
	limit := rate.NewLimiter(upkeepRate, upkeepBurst)
	retry := backoff.Backoff{First: upkeepRetry, Max: upkeepMax}
	for {
		pause := upkeepEvery
		if err := u.look(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			u.metrics.failures.WithLabelValues("upkeep").Inc()
			u.log.Error("certificate and webhook configuration could not be kept", zap.Error(err))
			pause = retry.Next()
		} else {
			retry.Reset()
			done()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-u.wake:
		case <-timer.C:
		}
		timer.Stop()
		if err := limit.Wait(ctx); err != nil {
			return err
		}
	}
}

// look does all that is due.
func (u *upkeep) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	c, err := u.credentials(ctx)
	if err != nil {
		return fmt.Errorf("keep Secret %s: %w", secretName, err)
	}
	err = u.announce(ctx, c)
	if err == nil || u.serving.Load() == nil {
		if old := u.serving.Swap(&c.serving); old == nil || !old.Leaf.Equal(c.serving.Leaf) {
			u.log.Info("serving a new certificate", zap.Time("expires", c.serving.Leaf.NotAfter))
		}
		u.metrics.expiry.Set(float64(c.serving.Leaf.NotAfter.Unix()))
	}
	return err
}

// credentials reads the Secret and writes what is due. When another replica wrote first, its version counts.
func (u *upkeep) credentials(ctx context.Context) (*credentials, error) {
	secrets := u.client.CoreV1().Secrets(u.namespace)
	for {
		secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return nil, err
		}
		var current *credentials
		if !missing {
			if current, err = decodeCredentials(secret.Data); err != nil {
				u.log.Error("the Secret's credentials are unusable and will be replaced", zap.Error(err))
			}
		}
		next, err := current.renew(u.dnsName(), u.now())
		if err != nil || next == current {
			return next, err
		}
		if err := u.write(ctx, secret, missing, next); apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			continue // bounded by ctx
		} else if err != nil {
			return nil, err
		}
		u.log.Info("renewed", zap.Int("authorities", len(next.authorities)), zap.Time("expires", next.serving.Leaf.NotAfter))
		return next, nil
	}
}

// write applies on the server's side: unlike a POST, that is authorized by name even where it creates, so RBAC holds
// the injector to this one Secret. The version makes it fail if somebody else wrote in between; of two that create at
// once the last one counts, and the watch tells the other.
func (u *upkeep) write(ctx context.Context, secret *corev1.Secret, missing bool, c *credentials) error {
	data, err := c.encode()
	if err != nil {
		return err
	}
	apply := corev1apply.Secret(secretName, u.namespace).
		WithLabels(map[string]string{mesh.ControlPlaneNSLabel: u.namespace,
			mesh.ControlPlaneComponentLabel: "proxy-injector"}).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: mesh.InjectorName}).
		WithType(corev1.SecretTypeTLS).WithData(data)
	if !missing {
		apply = apply.WithResourceVersion(secret.ResourceVersion)
	}
	_, err = u.client.CoreV1().Secrets(u.namespace).Apply(ctx, apply,
		metav1.ApplyOptions{FieldManager: mesh.InjectorName, Force: true})
	return err
}

// announce writes the webhook configurations where they do not say what they should.
func (u *upkeep) announce(ctx context.Context, c *credentials) error {
	optedIn, own := u.optedIn()
	a := announcement{bundle: c.bundle(), optedIn: optedIn, policy: u.values().WebhookFailurePolicy}
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

// announceOptedIn applies on the server's side, for the reason that write does.
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

// watch pokes on every change of the Secret and of the webhook configurations, by whomever, until ctx ends.
func (u *upkeep) watch(ctx context.Context) error {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { u.poke() }, UpdateFunc: func(any, any) { u.poke() }, DeleteFunc: func(any) { u.poke() },
	}
	var factories []informers.SharedInformerFactory
	for _, name := range []string{secretName, configurationName, optedInName} {
		factory := informers.NewSharedInformerFactoryWithOptions(u.client, 0, informers.WithNamespace(u.namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
			}))
		informer := factory.Admissionregistration().V1().MutatingWebhookConfigurations().Informer
		if name == secretName {
			informer = factory.Core().V1().Secrets().Informer
		}
		if _, err := informer().AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch %s: %w", name, err)
		}
		factories = append(factories, factory)
	}
	for _, f := range factories {
		f.Start(ctx.Done())
	}
	<-ctx.Done()
	for _, f := range factories {
		f.Shutdown()
	}
	return ctx.Err()
}
