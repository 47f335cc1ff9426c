package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/rights"
)

const (
	// viewerTTL is how long a viewer is known by the same credentials. After at most twice that time, nothing is kept.
	viewerTTL = time.Minute
	// maxViewers bounds the viewers that are known, and maxLookups the questions to the API server that run at once.
	maxViewers = 2000
	maxLookups = 32
)

// ClusterConfig configures an Authenticator.
type ClusterConfig struct {
	// Connect returns a client that has the credentials, and no rights of the server's own beyond impersonating.
	Connect func(Credentials) (*cluster.Client, error)
	// Numbers and History are asked for all viewers. What they answer is limited to what each may see. A nil History does
	// not know the past.
	Numbers metrics.Source
	History rights.AskHistory
	// Namespaces are those of the cluster, read with the server's own rights.
	Namespaces rights.Namespaces
	// Impersonation says whose headers name a viewer; nil for nobody's.
	Impersonation *Impersonation

	ControlNamespace, Version string
}

// Authenticator finds who sends a request to a server in a cluster.
type Authenticator struct {
	cfg     ClusterConfig
	lookups chan struct{} // holds one value for each lookup that runs

	mu     sync.Mutex // guards the fields below
	known  map[string]*lookup
	forgot time.Time // when old viewers were forgotten
}

// lookup is who has some credentials, or why that is not known.
type lookup struct {
	at     time.Time
	done   chan struct{} // closed when the fields below are set
	viewer Viewer
	denied *AuthError
}

// AuthError is why a request has no viewer.
type AuthError struct {
	Status int
	Why    *board.Refusal
}

// Error implements error.
func (d *AuthError) Error() string { return d.Why.Message }

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(cfg ClusterConfig) *Authenticator {
	return &Authenticator{cfg: cfg, lookups: make(chan struct{}, maxLookups), known: map[string]*lookup{}}
}

// Viewer returns who sends a request. Its error is an *AuthError.
func (a *Authenticator) Viewer(r *http.Request) (Viewer, error) {
	credentials, ok := a.cfg.Impersonation.read(r)
	if !ok {
		credentials, ok = bearer(r)
	}
	if !ok {
		return Viewer{}, unauthorized("the request has no bearer token")
	}
	key := credentials.key()
	known, first := a.find(key)
	if first {
		a.lookUp(r.Context(), key, credentials, known)
	}
	select {
	case <-known.done:
	case <-r.Context().Done():
		return Viewer{}, busy
	}
	if known.denied != nil {
		return Viewer{}, known.denied
	}
	return known.viewer, nil
}

// find returns what is known of credentials. The first one who finds it has to look it up.
func (a *Authenticator) find(key string) (known *lookup, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.known[key]; k != nil && time.Since(k.at) < viewerTTL {
		return k, false
	}
	a.forget()
	k := &lookup{at: time.Now(), done: make(chan struct{})}
	a.known[key] = k
	return k, true
}

// forget forgets old viewers, from time to time, and makes room for one more: so somebody with many tokens keeps nobody
// out. The caller holds the lock.
func (a *Authenticator) forget() {
	if full := len(a.known) >= maxViewers; !full && time.Since(a.forgot) < viewerTTL {
		return
	}
	a.forgot = time.Now()
	oldest := ""
	for key, k := range a.known {
		switch {
		case time.Since(k.at) >= viewerTTL:
			delete(a.known, key)
		case oldest == "" || k.at.Before(a.known[oldest].at):
			oldest = key
		}
	}
	if len(a.known) >= maxViewers {
		delete(a.known, oldest)
	}
}

// lookUp asks the API server who has the credentials. What it refuses is not kept.
func (a *Authenticator) lookUp(ctx context.Context, key string, c Credentials, into *lookup) {
	defer close(into.done)
	defer func() {
		if into.denied != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.known[key] == into {
				delete(a.known, key)
			}
		}
	}()
	select {
	case a.lookups <- struct{}{}:
		defer func() { <-a.lookups }()
	default:
		into.denied = busy
		return
	}
	// Others wait for it, so that it does not end with the request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cluster.LookTimeout)
	defer cancel()
	client, err := a.cfg.Connect(c)
	if err != nil {
		into.denied = unavailable(err)
		return
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{},
		metav1.CreateOptions{})
	if err != nil {
		into.denied = authErrorOf(err)
		return
	}
	name := review.Status.UserInfo.Username
	if name == "" || slices.Contains(review.Status.UserInfo.Groups, "system:unauthenticated") {
		into.denied = unauthorized("the cluster does not know the bearer token")
		return
	}
	into.viewer = a.viewer(key, name, client)
}

// viewer returns a viewer with the client's rights.
func (a *Authenticator) viewer(key, name string, client *cluster.Client) Viewer {
	may := rights.New(client, a.cfg.Namespaces)
	sources := board.Sources{Numbers: may.Numbers(a.cfg.Numbers), Client: client,
		ControlNamespace: a.cfg.ControlNamespace, Version: a.cfg.Version, Checks: &board.Checks{}}
	if a.cfg.History != nil {
		sources.History = may.History(a.cfg.History)
	}
	return Viewer{Key: key, Name: name, Post: client.Post, Sources: func() board.Sources {
		s := sources
		s.Objects = may.Objects(objects.New(client, a.cfg.ControlNamespace))
		return s
	}}
}

// key differs between credentials, and does not show them.
func (c Credentials) key() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // Credentials are texts
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// logInAgain is what a viewer without valid credentials can do.
const logInAgain = "Log in again where you log in to the dashboard. The proxy in front of it must send the header " +
	"Authorization with a bearer token that the cluster accepts, or be configured to name its users."

func unauthorized(message string) *AuthError {
	return &AuthError{http.StatusUnauthorized, &board.Refusal{Code: board.Forbidden, Message: message, Remedy: logInAgain}}
}

func unavailable(err error) *AuthError {
	return &AuthError{http.StatusServiceUnavailable, &board.Refusal{Code: board.Unavailable,
		Message: fmt.Sprintf("cannot ask the cluster who you are: %v", err), Remedy: "Try again in a minute."}}
}

var busy = unavailable(errors.New("too many viewers ask at once"))

// authErrorOf returns what an error of the API server means for the credentials.
func authErrorOf(err error) *AuthError {
	switch {
	case apierrors.IsUnauthorized(err):
		return unauthorized("the cluster does not accept the bearer token")
	case apierrors.IsForbidden(err):
		return &AuthError{http.StatusForbidden, &board.Refusal{Code: board.Forbidden,
			Message: fmt.Sprintf("the cluster does not let you ask who you are: %v", err),
			Remedy: "Ask an administrator of the cluster for the rights of the ClusterRole system:basic-user. If a proxy " +
				"names its users, the value web.impersonation of the installation has to list their groups."}}
	}
	return unavailable(err)
}
