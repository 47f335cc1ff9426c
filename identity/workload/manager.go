package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// pollInterval is how often the trust roots file is read again. A kubelet replaces it at most about once a minute.
	pollInterval = 5 * time.Second
	// attemptTimeout bounds one call of the identity controller.
	attemptTimeout = 10 * time.Second
	// minRenewal is the shortest time between renewals of a short-lived certificate.
	minRenewal = 10 * time.Second
)

// Config has the identity of a workload and the address of the identity controller.
type Config struct {
	ID mesh.ID
	// Addr is host:port of the identity controller, and Server is the identity that it must prove.
	Addr   string
	Server mesh.ID
	// TokenFile holds the projected ServiceAccount token, TrustRootsFile the trust anchors (PEM). Each attempt reads
	// both.
	TokenFile      string
	TrustRootsFile string
	// Called, if set, is called after each call of the identity controller, on Run's goroutine, with the gRPC status.
	Called func(took time.Duration, grpcStatus int16)
	Log    *zap.Logger // nil logs nothing
}

// Manager renews the certificate of one workload. Its methods may be called by several goroutines.
type Manager struct {
	id        mesh.ID
	rootsFile string
	certifier certifier // nil for a Manager made with Static
	log       *zap.Logger
	ready     chan struct{}         // closed when the first certificate is active
	state     atomic.Pointer[state] // never nil; only Run, ReplaceStatic and Revoke write it

	swapping sync.Mutex // held while the state is replaced

	mu     sync.Mutex // guards status
	status Status
}

// state is the immutable value that handshakes use.
type state struct {
	cert     *tls.Certificate // nil before the first certificate
	trust    *trust           // nil before the first anchors
	revoked  *revoked         // nil: nobody is
	replaced chan struct{}    // closed when another state is active
}

// Status is the state of a Manager for metrics.
type Status struct {
	// NotBefore and NotAfter are the validity of the active certificate; zero before the first.
	NotBefore, NotAfter time.Time
	// Refreshed is when the active certificate arrived.
	Refreshed time.Time
	// Refreshes and Failures count the attempts that returned a certificate and those that did not.
	Refreshes, Failures uint64
	// LastError is the error of the last attempt; nil if it returned a certificate.
	LastError error
	// RootsHash is mesh.RootsHash of the active trust anchors, and IssuerHash is mesh.KeyHash of the key that signed the
	// active certificate; 0 before the first.
	RootsHash, IssuerHash uint64
	// RootsErrors counts invalid trust roots files. After each, the previous anchors stayed active.
	RootsErrors uint64
}

// certifier returns a certificate for a certificate request, DER.
type certifier interface {
	certify(ctx context.Context, csr []byte) (*response, error)
}

// response is the identity controller's response, DER.
type response struct {
	chain   [][]byte // leaf first
	anchors [][]byte
}

// New returns a Manager without a certificate. Run requests one.
func New(cfg Config) *Manager {
	m := newManager(cfg.ID, cfg.Log)
	m.rootsFile = cfg.TrustRootsFile
	m.certifier = &client{addr: cfg.Addr, tokenFile: cfg.TokenFile, tls: m.verifyingTLS(cfg.Server, nil),
		called: cfg.Called}
	return m
}

// Static returns a Manager with a fixed certificate and fixed roots, for proxies without a control plane. Its Run only
// waits.
func Static(cert tls.Certificate, roots []*x509.Certificate) (*Manager, error) {
	if cert.Leaf == nil {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("static certificate: %w", err)
		}
		cert.Leaf = leaf
	}
	id, err := leafID(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("static certificate: %w", err)
	}
	m := newManager(id, nil)
	return m, m.ReplaceStatic(cert, roots)
}

// ReplaceStatic activates another certificate of the same identity, and other anchors, as a renewal does. The Manager
// must be made with Static. The certificate's Leaf must be set.
func (m *Manager) ReplaceStatic(cert tls.Certificate, roots []*x509.Certificate) error {
	if len(roots) == 0 {
		return errors.New("static certificate: no trust anchors")
	}
	if id, err := leafID(cert.Leaf); err != nil || id != m.id {
		return fmt.Errorf("static certificate: it is of %s, want %s", id, m.id)
	}
	m.setCertificate(&cert, newTrust(nil, roots, nil))
	return nil
}

func newManager(id mesh.ID, log *zap.Logger) *Manager {
	if log == nil {
		log = zap.NewNop()
	}
	m := &Manager{id: id, log: log, ready: make(chan struct{})}
	m.state.Store(&state{replaced: make(chan struct{})})
	return m
}

// ID returns the identity of the Manager's certificate.
func (m *Manager) ID() mesh.ID { return m.id }

// Ready returns a channel that is closed when the first certificate is active. Err reports whether it is still valid.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Err returns nil while the workload has a valid certificate. Otherwise the error wraps ErrNoCertificate.
func (m *Manager) Err() error {
	_, err := m.certificate()
	return err
}

// Status returns the current state.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	status, s := m.status, m.state.Load()
	if s.trust != nil {
		status.RootsHash = s.trust.hash
	}
	if s.cert != nil {
		status.IssuerHash = mesh.KeyHash(s.cert.Leaf.AuthorityKeyId)
	}
	return status
}

// Run gets a certificate, renews it after half of its lifetime, and follows the trust roots file, until ctx ends. It
// retries after failures. Without a valid certificate it retries every half second at first, otherwise with growing
// pauses.
func (m *Manager) Run(ctx context.Context) error {
	if m.certifier == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	renew := time.NewTimer(0)
	defer renew.Stop()
	var due time.Time // on the wall clock, which includes the time that the machine slept
	var failures retries
	early := earlyRenewal{file: filepath.Join(filepath.Dir(m.rootsFile), mesh.IssuerKeyKey)}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
			if m.pollRoots() || wall().After(due) {
				renew.Reset(0)
			} else if pause, ok := early.due(m.state.Load().cert); ok && wall().Add(pause).Before(due) {
				m.log.Info("the issuer changed, the certificate is renewed early", zap.Duration("in", pause))
				renew.Reset(pause)
				due = wall().Add(pause)
			}
			continue
		case <-renew.C:
		}
		var pause time.Duration
		if err := m.renew(ctx); err != nil {
			m.log.Warn("certificate not renewed", zap.Error(err), zap.Stringer("id", m.id),
				zap.Time("validUntil", m.Status().NotAfter))
			pause = failures.next(m.lifeLeft(), time.Now())
		} else {
			pause = max(minRenewal, backoff.Spread(time.Until(m.Status().NotAfter)/2, 0.1))
			failures = retries{}
		}
		renew.Reset(pause)
		due = wall().Add(pause)
	}
}

// lifeLeft returns the remaining validity of the active certificate. It is not positive if there is no valid one.
func (m *Manager) lifeLeft() time.Duration {
	s := m.state.Load()
	if s.cert == nil {
		return 0
	}
	return s.cert.Leaf.NotAfter.Sub(wall())
}

// wall returns the time without its monotonic part.
func wall() time.Time { return time.Now().Round(0) }

// pollRoots reads the trust roots file again. It reports whether the active certificate no longer verifies: a new one
// is then needed at once.
func (m *Manager) pollRoots() (stranded bool) {
	old := m.state.Load()
	if err := m.readRoots(); err != nil {
		m.log.Warn("trust anchors not read, the last ones stay active", zap.Error(err))
		return false
	}
	s := m.state.Load()
	if s.trust == old.trust || s.cert == nil {
		return false
	}
	m.log.Info("trust anchors changed", zap.Int("anchors", len(s.trust.file)))
	return s.check(time.Now()) != nil
}

// readRoots activates the anchors of the file.
func (m *Manager) readRoots() error {
	s := m.state.Load()
	bundle, err := os.ReadFile(m.rootsFile)
	if err != nil {
		err = fmt.Errorf("read trust anchors: %w", err)
	} else {
		var next *trust
		if next, err = s.trust.withFile(bundle); err == nil && next != s.trust {
			m.swapState(s.cert, next)
		}
	}
	if err != nil {
		m.mu.Lock()
		m.status.RootsErrors++
		m.mu.Unlock()
	}
	return err
}

// swapState activates a state with the certificate and the anchors, and wakes those who wait for one. It returns the
// previous state.
func (m *Manager) swapState(cert *tls.Certificate, trust *trust) *state {
	m.swapping.Lock()
	defer m.swapping.Unlock()
	old := m.state.Load()
	m.state.Store(&state{cert: cert, trust: trust, revoked: old.revoked, replaced: make(chan struct{})})
	close(old.replaced)
	return old
}

// Revoke makes handshakes with these peers, and no others, fail from now on. It may be called while Run runs.
func (m *Manager) Revoke(list mesh.Revoked) {
	m.swapping.Lock()
	defer m.swapping.Unlock()
	old := m.state.Load()
	if old.revoked.list().Equal(list) {
		return
	}
	m.log.Info("revoked peers changed", zap.Strings("revoked", list.Entries()))
	m.state.Store(&state{cert: old.cert, trust: old.trust, revoked: newRevoked(list), replaced: make(chan struct{})})
	close(old.replaced)
}
