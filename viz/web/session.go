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

// tokenParam is the parameter of the first address.
const tokenParam = "token"

// oneTimeFor is how long a token that works once waits for the browser.
const oneTimeFor = 2 * time.Minute

// session is the one session of a server. A browser that opens an address with a token gets the cookie.
type session struct {
	token, cookie string
	log           *zap.Logger

	mu   sync.Mutex // guards the field below, and what is in it
	lent []*lent
}

// lent is a token that works once, with a cookie of its own.
type lent struct {
	token, cookie string
	until         time.Time // when the token ends; the cookie does not
	used          bool
	ended         context.Context // ends with the cookie
	end           context.CancelFunc
}

func newSession(log *zap.Logger) *session {
	return &session{token: rand.Text(), cookie: rand.Text(), log: log}
}

// oneTime returns a token that works once.
func (s *session) oneTime() string {
	l := &lent{token: rand.Text(), cookie: rand.Text(), until: time.Now().Add(oneTimeFor)}
	l.ended, l.end = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = append(s.lent, l)
	return l.token
}

// opens returns the cookie that a token gives. A token that works once is used up. If it comes again, one of the two
// browsers is not the viewer's, and nobody knows which, so that its cookie ends (as RFC 6749 section 4.1.2 wants of
// authorization codes).
func (s *session) opens(token string) (cookie string, ok bool) {
	if equal(token, s.token) {
		return s.cookie, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.lent {
		switch {
		case !equal(token, l.token):
		case l.used:
			l.end()
			s.lent = slices.Delete(s.lent, i, i+1)
			s.log.Warn("the address that works once was opened twice, so its session has ended; open the printed address")
			return "", false
		case time.Now().Before(l.until):
			l.used = true
			return l.cookie, true
		}
	}
	return "", false
}

// equal compares in a time that does not depend on where the texts differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// cookieName has the port in it, because the browser sends cookies to all ports of a host.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	return "tulle-dashboard-" + port
}

// begin answers an address with a token: with the cookie, and the address without the token.
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
	target.Scheme, target.Host, target.User, target.RawQuery = "", "", nil, query.Encode()
	if len(target.Path) > 1 && target.Path[1] == '/' { // two slashes begin the name of a host
		target.Path, target.RawPath = "/", ""
	}
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// holds returns the context that ends with the session, if the request belongs to it.
func (s *session) holds(r *http.Request) (ended context.Context, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if equal(c.Value, s.cookie) {
			return context.Background(), true
		}
		for _, l := range s.lent {
			if l.used && equal(c.Value, l.cookie) {
				return l.ended, true
			}
		}
	}
	return nil, false
}

// askForToken is the page for a browser that has no session.
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
