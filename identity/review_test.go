package identity

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	authv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// accepted returns the status of a valid token, after edit.
func accepted(edit func(*authv1.TokenReviewStatus)) *authv1.TokenReviewStatus {
	s := &authv1.TokenReviewStatus{
		Authenticated: true,
		Audiences:     []string{mesh.TokenAudience},
		User: authv1.UserInfo{
			Username: "system:serviceaccount:shop:web",
			Extra:    map[string]authv1.ExtraValue{podExtra: {"web-0"}, uidExtra: {"u1"}},
		},
	}
	edit(s)
	return s
}

func TestOnlyPodBoundTokensOfOurAudienceProveAnIdentity(t *testing.T) {
	cases := []struct {
		name   string
		status *authv1.TokenReviewStatus
		reason string // "": accepted
	}{
		{"a good token", accepted(func(*authv1.TokenReviewStatus) {}), ""},
		{"one of several audiences is ours", accepted(func(s *authv1.TokenReviewStatus) {
			s.Audiences = append(s.Audiences, "x")
		}), ""},
		{"not authenticated", accepted(func(s *authv1.TokenReviewStatus) { s.Authenticated = false }), reasonTokenInvalid},
		{"the API server's own audience", accepted(func(s *authv1.TokenReviewStatus) {
			s.Audiences = []string{"https://kubernetes.default.svc"}
		}), reasonTokenAudience},
		{"no audience", accepted(func(s *authv1.TokenReviewStatus) { s.Audiences = nil }), reasonTokenAudience},
		{"a user", accepted(func(s *authv1.TokenReviewStatus) { s.User.Username = "alice" }), reasonTokenUser},
		{"a node", accepted(func(s *authv1.TokenReviewStatus) { s.User.Username = "system:node:n1" }), reasonTokenUser},
		{"no service account", accepted(func(s *authv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:shop" }),
			reasonTokenUser},
		{"a name with one part more", accepted(func(s *authv1.TokenReviewStatus) {
			s.User.Username = "system:serviceaccount:shop:web:admin"
		}), reasonTokenUser},
		{"a name that would climb in the path", accepted(func(s *authv1.TokenReviewStatus) {
			s.User.Username = "system:serviceaccount:shop:../../kube-system/sa/admin"
		}), reasonTokenUser},
		{"no pod", accepted(func(s *authv1.TokenReviewStatus) { delete(s.User.Extra, podExtra) }), reasonTokenUnbound},
		{"no pod UID", accepted(func(s *authv1.TokenReviewStatus) { delete(s.User.Extra, uidExtra) }), reasonTokenUnbound},
		{"two pods", accepted(func(s *authv1.TokenReviewStatus) { s.User.Extra[podExtra] = authv1.ExtraValue{"a", "b"} }),
			reasonTokenUnbound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			caller, err := callerOf(c.status, "cluster.local")
			if c.reason == "" {
				if want := (Caller{ID: web, Pod: "web-0", PodUID: "u1"}); err != nil || caller != want {
					t.Errorf("got %v (%v), want %v", caller, err, want)
				}
				return
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.Code != codes.Unauthenticated {
				t.Errorf("got %v, want a refusal because of %s", err, c.reason)
			}
		})
	}
}

func TestReviewAsksForOurAudienceAndNoOther(t *testing.T) {
	c := newCluster(t)
	var asked []string
	c.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked = append(asked, action.(clienttesting.CreateAction).GetObject().(*authv1.TokenReview).Spec.Audiences...)
		return true, nil, errors.New("API server is away")
	})
	_, err := (&TokenReview{Client: c.Clientset, TrustDomain: "cluster.local"}).Review(context.Background(), "t")
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != codes.Unavailable || refusal.Reason != reasonReviewFailed {
		t.Errorf("got %v", err)
	}
	if len(asked) != 1 || asked[0] != mesh.TokenAudience {
		t.Errorf("asked for the audiences %q, want %q once", asked, mesh.TokenAudience)
	}
}

// countingReviewer is a Reviewer that counts calls and accepts the tokens that do not begin with "bad".
type countingReviewer struct{ n int }

func (r *countingReviewer) Review(_ context.Context, token string) (Caller, error) {
	r.n++
	if token[:3] == "bad" {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenInvalid, "bad")
	}
	return Caller{ID: web, Pod: token}, nil
}

func TestReviewsAreRememberedForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &countingReviewer{}
		cache := newReviewCache(next)
		ask := func(token string, want int) {
			t.Helper()
			caller, err := cache.Review(t.Context(), token)
			if next.n != want || (err == nil && caller.Pod != token) {
				t.Errorf("token %s: %d reviews, want %d; caller %v (%v)", token, next.n, want, caller, err)
			}
		}
		ask("web-0", 1)
		ask("web-0", 1)
		ask("web-1", 2)
		ask("bad", 3)
		ask("bad", 4)
		time.Sleep(cacheTTL)
		ask("web-0", 5)
		for i := range 2 * cacheSize {
			_, _ = cache.Review(t.Context(), fmt.Sprintf("pod-%d", i))
		}
		if len(cache.seen) > cacheSize {
			t.Errorf("%d reviews are remembered, want %d at most", len(cache.seen), cacheSize)
		}
	})
}
