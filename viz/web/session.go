package web

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"sync"
)

// tokenParam is the parameter of the first address.
const tokenParam = "token"

// session is the one session of a server. A browser that opens an address with a token gets the cookie.
type session struct {
	token, cookie string

	mu   sync.Mutex // guards the field below
	once string     // a token that works one more time; "" is none
}

func newSession() *session { return &session{token: rand.Text(), cookie: rand.Text()} }

// oneTime returns a token that works once.
func (s *session) oneTime() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once = rand.Text()
	return s.once
}

// opens reports whether a token begins the session. One that works once is used up.
func (s *session) opens(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once != "" && equal(token, s.once) {
		s.once = ""
		return true
	}
	return equal(token, s.token)
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
	if r.Method != http.MethodGet || !s.opens(given) {
		askForToken(w)
		return true
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: s.cookie, Path: "/", HttpOnly: true,
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

// holds reports whether the request belongs to the session.
func (s *session) holds(r *http.Request) bool {
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if equal(c.Value, s.cookie) {
			return true
		}
	}
	return false
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
