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
	// viewerTTL is how long a lookup of credentials is used. It is removed after at most twice that time.
	viewerTTL = time.Minute
	// maxViewers bounds the viewers that are known, and maxLookups the questions to the API server that run at once.
	maxViewers = 2000
	maxLookups = 32
)

// ClusterConfig configures an Authenticator.
type ClusterConfig struct {
	// Connect returns a client with the credentials. The server's own rights are used only to impersonate.
	Connect func(Credentials) (*cluster.Client, error)
	// Numbers and History are asked once for all viewers. Each viewer gets what the viewer may see of the answers.
	// Without History, pages have no charts.
	Numbers metrics.Source
	History rights.AskHistory
	// Namespaces returns the namespaces of the cluster, read with the server's own rights.
	Namespaces rights.Namespaces
	// Settings are the installation's; nil if pages do not show what is configured without traffic.
	Settings Settings
	// Impersonation says which client's headers name a viewer; nil for none.
	Impersonation *Impersonation

	ControlNamespace, Version string
}

// Authenticator finds the viewer of a request to a server in a cluster. Several goroutines may use it.
type Authenticator struct {
	cfg        ClusterConfig
	configured *configurations
	lookups    chan struct{} // holds one value for each lookup that runs

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

// AuthError is why a request has no viewer. Status is the HTTP status: 401, 403 or 503.
type AuthError struct {
	Status int
	Why    *board.Refusal
}

// Error implements error.
func (d *AuthError) Error() string { return d.Why.Message }

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(cfg ClusterConfig) *Authenticator {
	return &Authenticator{cfg: cfg, configured: newConfigurations(cfg.Settings, cfg.Namespaces),
		lookups: make(chan struct{}, maxLookups), known: map[string]*lookup{}}
}

// Viewer returns the viewer who sends a request. Its error is an *AuthError.
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

// find returns the lookup of credentials. first is true if it is new: then the caller has to run it.
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

// forget removes old lookups, from time to time, and makes room for one more, so that a viewer with many tokens locks
// nobody out. The caller holds the lock.
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

// lookUp asks the API server who has the credentials. A failed lookup is not stored.
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
	// Other requests wait for it too, so it does not end with this one.
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

// viewer returns the viewer of a client.
func (a *Authenticator) viewer(key, name string, client *cluster.Client) Viewer {
	may := rights.New(client, a.cfg.Namespaces)
	sources := board.Sources{Scope: may.Scope, Numbers: may.Numbers(a.cfg.Numbers), Client: client,
		ControlNamespace: a.cfg.ControlNamespace, Version: a.cfg.Version, Checks: &board.Checks{}}
	if a.cfg.History != nil {
		sources.History = may.History(a.cfg.History)
	}
	if a.cfg.Settings != nil {
		sources.Configuration = (&viewerConfiguration{a.configured, may, client}).of
	}
	return Viewer{Key: key, Name: name, Post: client.Post, Sources: func() board.Sources {
		s := sources
		s.Objects = may.Objects(objects.New(client, a.cfg.ControlNamespace))
		return s
	}}
}

// key returns a hash of the credentials, which does not reveal them.
func (c Credentials) key() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // Credentials are texts
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// logInAgain is the remedy without valid credentials.
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

// authErrorOf returns the AuthError of an error of the API server.
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
