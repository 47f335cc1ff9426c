package identity

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/mesh"
)

// Caller is the identity that a token proves.
type Caller struct {
	ID     mesh.ID
	Pod    string
	PodUID string
}

// Reviewer returns the owner of a token. Its errors are *Refusal.
type Reviewer interface {
	Review(ctx context.Context, token string) (Caller, error)
}

// TokenReview asks the API server. It accepts only tokens of the audience mesh.TokenAudience that are bound to a pod:
// the API server refuses such a token once its pod is deleted.
type TokenReview struct {
	Client      kubernetes.Interface
	TrustDomain string
}

const (
	userPrefix = "system:serviceaccount:"
	podExtra   = "authentication.kubernetes.io/pod-name"
	uidExtra   = "authentication.kubernetes.io/pod-uid"
)

// Review implements Reviewer.
func (r *TokenReview) Review(ctx context.Context, token string) (Caller, error) {
	review, err := r.Client.AuthenticationV1().TokenReviews().Create(ctx, &authv1.TokenReview{
		Spec: authv1.TokenReviewSpec{Token: token, Audiences: []string{mesh.TokenAudience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Caller{}, refuse(codes.Unavailable, reasonReviewFailed, "ask the API server about the token: %w", err)
	}
	return callerOf(&review.Status, r.TrustDomain)
}

func callerOf(status *authv1.TokenReviewStatus, trustDomain string) (Caller, error) {
	if !status.Authenticated {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenInvalid, "the API server does not accept the token: %s",
			status.Error)
	}
	// An API server without support for audiences authenticates and leaves the audiences empty. Such a response proves
	// nothing about our audience.
	if !slices.Contains(status.Audiences, mesh.TokenAudience) {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenAudience, "the token is for %q, want %q", status.Audiences,
			mesh.TokenAudience)
	}
	name, ok := strings.CutPrefix(status.User.Username, userPrefix)
	ns, sa, _ := strings.Cut(name, ":")
	caller := Caller{ID: mesh.ID{TrustDomain: trustDomain, Namespace: ns, ServiceAccount: sa}}
	if err := caller.ID.Validate(); !ok || err != nil {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenUser, "the token is of user %q, want a service account",
			status.User.Username)
	}
	caller.Pod, caller.PodUID = single(status.User.Extra[podExtra]), single(status.User.Extra[uidExtra])
	if caller.Pod == "" || caller.PodUID == "" {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenUnbound, "the token of %s is not bound to a pod", caller.ID)
	}
	return caller, nil
}

func single(values authv1.ExtraValue) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Limits of a reviewCache. A deleted pod can still get a certificate for at most cacheTTL.
const (
	cacheTTL  = 10 * time.Second
	cacheSize = 4096
)

// reviewCache remembers accepted tokens, so that a caller in a loop costs the API server one review in ten seconds. It
// does not store refusals: the cause may have been removed.
type reviewCache struct {
	next Reviewer

	mu   sync.Mutex // guards seen
	seen map[[sha256.Size]byte]cached
}

type cached struct {
	caller Caller
	until  time.Time
}

func newReviewCache(next Reviewer) *reviewCache {
	return &reviewCache{next: next, seen: map[[sha256.Size]byte]cached{}}
}

// Review implements Reviewer.
func (c *reviewCache) Review(ctx context.Context, token string) (Caller, error) {
	key := sha256.Sum256([]byte(token))
	if caller, ok := c.load(key, time.Now()); ok {
		return caller, nil
	}
	caller, err := c.next.Review(ctx, token)
	if err == nil {
		c.store(key, caller, time.Now())
	}
	return caller, err
}

func (c *reviewCache) load(key [sha256.Size]byte, now time.Time) (Caller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.seen[key]
	return entry.caller, ok && now.Before(entry.until)
}

func (c *reviewCache) store(key [sha256.Size]byte, caller Caller, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) >= cacheSize {
		for k, entry := range c.seen {
			if !now.Before(entry.until) {
				delete(c.seen, k)
			}
		}
	}
	if len(c.seen) < cacheSize {
		c.seen[key] = cached{caller: caller, until: now.Add(cacheTTL)}
	}
}
