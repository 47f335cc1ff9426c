package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// tokenParam is the query parameter with the token, in the address that the command prints.
const tokenParam = "token"

// oneTimeFor is how long a one-time token is valid.
const oneTimeFor = 2 * time.Minute

// session is the session of a server. A browser that opens an address with a token gets the token's cookie.
type session struct {
	token, cookie string
	log           *zap.Logger

	mu            sync.Mutex // guards the field below, and what is in it
	oneTimeTokens []*oneTimeToken
}

// oneTimeToken is a token that works once. It has its own cookie, so that it can end without the session.
type oneTimeToken struct {
	token, cookie string
	until         time.Time // when the token expires; the cookie does not expire
	used          bool
	ended         context.Context // done when the cookie is revoked
	end           context.CancelFunc
}

func newSession(log *zap.Logger) *session {
	return &session{token: rand.Text(), cookie: rand.Text(), log: log}
}

// oneTime returns a token that works once.
func (s *session) oneTime() string {
	l := &oneTimeToken{token: rand.Text(), cookie: rand.Text(), until: time.Now().Add(oneTimeFor)}
	l.ended, l.end = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oneTimeTokens = append(s.oneTimeTokens, l)
	return l.token
}

// opens returns the cookie of a token. A second use of a one-time token revokes its cookie, because one of the two
// browsers is not the viewer's and the server cannot tell which. Source: RFC 6749 section 4.1.2, authorization codes.
func (s *session) opens(token string) (cookie string, ok bool) {
	if equal(token, s.token) {
		return s.cookie, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.oneTimeTokens {
		switch {
		case !equal(token, l.token):
		case l.used:
			l.end()
			s.oneTimeTokens = slices.Delete(s.oneTimeTokens, i, i+1)
			s.log.Warn("the address that works once was opened twice, so its session has ended; open the printed address")
			return "", false
		case time.Now().Before(l.until):
			l.used = true
			return l.cookie, true
		}
	}
	return "", false
}

// equal compares in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// cookieName returns the name of the cookie. It contains the port, because browsers send a cookie to all ports of a
// host.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	return "tulle-dashboard-" + port
}

// begin answers a request whose address has a token, and returns whether it has. A valid token gets the cookie and a
// redirect to the address without the token.
func (s *session) begin(w http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	if !query.Has(tokenParam) {
		return false
	}
	given := query.Get(tokenParam)
	query.Del(tokenParam)
	if r.Method != http.MethodGet {
		askForToken(w)
		return true
	}
	cookie, ok := s.opens(given)
	if !ok {
		askForToken(w)
		return true
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: cookie, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteStrictMode})
	target := *r.URL
	target.Scheme, target.Opaque, target.Host, target.User = "", "", "", nil
	target.RawQuery = query.Encode()
	if len(target.Path) > 1 && target.Path[1] == '/' { // browsers read two slashes as the beginning of a host
		target.Path, target.RawPath = "/", ""
	}
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// holds returns a context that is done when the session of the request ends; false if the request has no session.
func (s *session) holds(r *http.Request) (ended context.Context, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if equal(c.Value, s.cookie) {
			return context.Background(), true
		}
		for _, l := range s.oneTimeTokens {
			if l.used && equal(c.Value, l.cookie) {
				return l.ended, true
			}
		}
	}
	return nil, false
}

// askForToken answers a browser that has no session with a page that says what to open.
func askForToken(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tulle dashboard</title></head>
<body>
<h1>This browser has no session</h1>
<p>Open the address that <code>tulle viz dashboard</code> printed in your terminal, with its <code>?token=</code>.</p>
<p>If the dashboard is open in this browser already, <a href="/">go to it</a>.</p>
</body>
</html>
`)) // the browser went away
}
