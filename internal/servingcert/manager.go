package servingcert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Times of a Manager.
const (
	reconcileEvery = 30 * time.Minute // the longest time between two passes, for what no watch reports: the clock
	retryFirst     = time.Second      // after the first failure; doubled up to retryMax
	retryMax       = time.Minute
	reconcileRate  = 1 // passes a second, with a burst for the start
	reconcileBurst = 10
	requestLimit   = 15 * time.Second
)

// Config configures a Manager. Every field is required.
type Config struct {
	Client kubernetes.Interface
	// Namespace and Secret say where the credentials are; SecretLabels are the Secret's.
	Namespace, Secret string
	SecretLabels      map[string]string
	// Service is the name of the Service in Namespace that API servers call.
	Service string
	// Owner is the field manager of writes, and what the Secret says made it.
	Owner string
	// Announce writes the authorities, PEM, where API servers look for them. It is called in every pass, and writes only
	// what is different.
	Announce func(ctx context.Context, authorities []byte) error
	// Failed counts a pass that failed; Serving says when the certificate that is served expires.
	Failed  func()
	Serving func(expires time.Time)
	Now     func() time.Time
	Log     *zap.Logger
}

// Manager keeps the shared credentials valid and announces their authorities, in this order. Only then it serves a new
// certificate. Every replica runs one.
type Manager struct {
	cfg     Config
	wake    latest.Signal // a pass is due
	serving atomic.Pointer[tls.Certificate]
	// serverTime returns the API server's time; the zero time if it does not tell.
	serverTime func(context.Context) (time.Time, error)
	replaced   time.Time // when this process last replaced all that a Secret held; only Reconcile uses it
}

// New returns a Manager that has no certificate yet.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg, wake: latest.NewSignal(), serverTime: func(ctx context.Context) (time.Time, error) {
		return timeOf(ctx, cfg.Client)
	}}
}

// DNSName is what API servers verify.
func (m *Manager) DNSName() string { return m.cfg.Service + "." + m.cfg.Namespace + ".svc" }

// Poke asks for a pass soon. It never blocks.
func (m *Manager) Poke() { m.wake.Notify() }

// Certificate returns the newest announced certificate, for a tls.Config.
func (m *Manager) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := m.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no certificate yet")
}

// Run reconciles whenever something changed or time has come, until ctx ends. It calls done after each success.
func (m *Manager) Run(ctx context.Context, done func()) error {
	limit := rate.NewLimiter(reconcileRate, reconcileBurst)
	retry := backoff.Backoff{First: retryFirst, Max: retryMax}
	for {
		pause := reconcileEvery
		if err := m.Reconcile(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m.cfg.Failed()
			m.cfg.Log.Error("failed to keep the serving certificate", zap.Error(err))
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
		case <-m.wake:
		case <-timer.C:
		}
		timer.Stop()
		if err := limit.Wait(ctx); err != nil {
			return err
		}
	}
}

// Reconcile does all that is due.
func (m *Manager) Reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	c, failed := m.credentials(ctx)
	if failed != nil {
		failed = fmt.Errorf("keep Secret %s: %w", m.cfg.Secret, failed)
	}
	if c == nil {
		return failed
	}
	err := m.cfg.Announce(ctx, c.bundle())
	if err == nil || m.serving.Load() == nil {
		if old := m.serving.Swap(&c.serving); old == nil || !old.Leaf.Equal(c.serving.Leaf) {
			m.cfg.Log.Info("serving a new certificate", zap.Time("expires", c.serving.Leaf.NotAfter))
		}
		m.cfg.Serving(c.serving.Leaf.NotAfter)
	}
	return errors.Join(failed, err)
}

// credentials reads the Secret and writes what is due. When another replica wrote first, its version counts. With an
// error it returns what the Secret holds, if that may be served.
func (m *Manager) credentials(ctx context.Context) (*credentials, error) {
	secrets := m.cfg.Client.CoreV1().Secrets(m.cfg.Namespace)
	for {
		secret, err := secrets.Get(ctx, m.cfg.Secret, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return nil, err
		}
		var current *credentials
		if !missing {
			if current, err = decodeCredentials(secret.Data); err != nil {
				m.cfg.Log.Error("the Secret's credentials are unusable and will be replaced", zap.Error(err))
			}
		}
		now := m.cfg.Now()
		next, err := current.renew(m.DNSName(), now)
		if err != nil {
			return nil, err
		}
		if next == current {
			if current.early(m.DNSName(), now) {
				m.cfg.Log.Warn("the certificate is not valid yet by this node's clock: waiting. Set the clock right",
					zap.Time("clock", now), zap.Time("valid", current.serving.Leaf.NotBefore))
			}
			return current, nil
		}
		if !missing {
			if err := m.mayWrite(ctx, secret, current, now); err != nil {
				return current.ours(m.DNSName()), err
			}
		}
		if err := m.write(ctx, secret, missing, next); apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			continue // bounded by ctx
		} else if err != nil {
			return current.ours(m.DNSName()), err
		}
		m.cfg.Log.Info("renewed", zap.Int("authorities", len(next.authorities)),
			zap.Time("expires", next.serving.Leaf.NotAfter))
		return next, nil
	}
}

// write applies on the server's side: unlike a POST, that is authorized by name even where it creates, so RBAC holds
// the process to this one Secret. The version makes it fail if somebody else wrote in between; of two that create at
// once the last one counts, and the watch tells the other.
func (m *Manager) write(ctx context.Context, secret *corev1.Secret, missing bool, c *credentials) error {
	data, err := c.encode()
	if err != nil {
		return err
	}
	kind := corev1.SecretTypeTLS
	if !missing && secret.Type != "" {
		kind = secret.Type // it cannot change: a Secret that was restored as Opaque stays so
	}
	apply := corev1apply.Secret(m.cfg.Secret, m.cfg.Namespace).WithLabels(m.cfg.SecretLabels).
		WithAnnotations(map[string]string{mesh.CreatedByAnnotation: m.cfg.Owner}).
		WithType(kind).WithData(data)
	if !missing {
		apply = apply.WithResourceVersion(secret.ResourceVersion)
	}
	_, err = m.cfg.Client.CoreV1().Secrets(m.cfg.Namespace).Apply(ctx, apply,
		metav1.ApplyOptions{FieldManager: m.cfg.Owner, Force: true})
	return err
}
