package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/viz/board"
)

// contentSecurityPolicy is sent with every answer. No inline script or style runs, and everything that the page loads
// comes from this server.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// headers are sent with every answer.
var headers = map[string]string{
	"Content-Security-Policy":      contentSecurityPolicy,
	"X-Frame-Options":              "DENY",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// The remedies of a viewer without a session, and of one who used another host.
const (
	openAgain = "Open the address that `tulle viz dashboard` printed."
	openOwn   = "Open the address at which the dashboard is installed: the value web.externalUrl."
)

// ServeHTTP implements http.Handler. Its body is the list of checks that every request passes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.recoverPanic(w, r)
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	// Without this, the deadline of the connection's last answer would still apply.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.writeTimeout)) // httptest's recorder has none
	api := strings.HasPrefix(r.URL.Path, "/api/")
	status, why := s.check(r, api)
	if why != nil || r.Method != http.MethodPost {
		connlimit.LeaveBody(w, r)
	}
	switch {
	case why != nil:
		writeRefusal(w, status, why)
	case s.cfg.Authenticate != nil:
		s.serveViewer(w, r, api)
	case !api && s.session.begin(w, r):
	default:
		s.serveSession(w, r, api)
	}
}

// serveSession serves a request with the session's cookie. Its context ends with the session.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, api bool) {
	ended, ok := s.session.holds(r)
	switch {
	case ok:
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		s.mux.ServeHTTP(w, withViewer(r.WithContext(ctx), s.cfg.Viewer))
	case api:
		writeRefusal(w, http.StatusUnauthorized, &board.Refusal{Code: board.Forbidden, Message: "this browser has no session",
			Remedy: openAgain})
	default:
		askForToken(w)
	}
}

// serveViewer serves a request with the viewer's own credentials. Its context ends after credentialsFor.
func (s *Server) serveViewer(w http.ResponseWriter, r *http.Request, api bool) {
	viewer, err := s.cfg.Authenticate(r)
	if err == nil {
		ctx, cancel := context.WithTimeoutCause(r.Context(), s.credentialsFor, errCredentialsOld)
		defer cancel()
		s.mux.ServeHTTP(w, withViewer(r.WithContext(ctx), viewer))
		return
	}
	connlimit.LeaveBody(w, r)
	var denied *AuthError
	if !errors.As(err, &denied) {
		denied = unavailable(err)
	}
	if denied.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 section 11.6.1
	}
	if api {
		writeRefusal(w, denied.Status, denied.Why)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(denied.Status)
	_, _ = fmt.Fprintf(w, "Tulle dashboard: %s.\n\n%s\n", denied.Why.Message, denied.Why.Remedy) // the browser went away
}

// check returns why a request is refused, whichever viewer sends it, or nil.
func (s *Server) check(r *http.Request, api bool) (status int, why *board.Refusal) {
	remedy := openAgain
	if s.cfg.Authenticate != nil {
		remedy = openOwn
	}
	switch {
	case !s.ownHost(r):
		return http.StatusForbidden, &board.Refusal{Code: board.Forbidden,
			Message: "the host of the request is not one of the dashboard's", Remedy: remedy}
	case api && !sameOrigin(r, cmp.Or(s.cfg.Origin, "http://"+r.Host)):
		return http.StatusForbidden, &board.Refusal{Code: board.Forbidden,
			Message: "the request comes from another page than the dashboard"}
	case r.Method == http.MethodPost && !isJSON(r):
		return http.StatusUnsupportedMediaType, &board.Refusal{Code: board.BadRequest,
			Message: "content type: want application/json"}
	}
	return 0, nil
}

// ownHost reports whether the request names a host of the dashboard, or the address at which it arrived. This stops DNS
// rebinding: a page whose own name resolves to this server sends that name.
func (s *Server) ownHost(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return slices.Contains(s.cfg.Hosts, host) || ok && host == local.String()
}

// sameOrigin reports whether the dashboard's own page sent a request, or a viewer who typed its address. Browsers send
// the header Origin, Sec-Fetch-Site or both. Other programs send neither.
func sameOrigin(r *http.Request, own string) bool {
	if origins := r.Header.Values("Origin"); len(origins) > 0 &&
		(len(origins) > 1 || !strings.EqualFold(origins[0], own)) {
		return false
	}
	switch strings.Join(r.Header.Values("Sec-Fetch-Site"), ",") {
	case "", "same-origin":
		return true
	case "none":
		return r.Method == http.MethodGet
	}
	return false
}

// isJSON reports whether the body is JSON by its type. A page of another origin cannot send this type without a
// preflight request, which is refused.
func isJSON(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}

// recoverPanic answers a request that panicked, and logs the panic.
func (s *Server) recoverPanic(w http.ResponseWriter, r *http.Request) {
	panicked := recover()
	switch {
	case panicked == nil:
		return
	case panicked == http.ErrAbortHandler:
		panic(panicked)
	}
	s.cfg.Log.Error("request panicked", zap.String("path", r.URL.Path), zap.Any("panic", panicked), zap.Stack("stack"))
	if w.Header().Get("Content-Type") != "" { // the answer has begun
		panic(http.ErrAbortHandler)
	}
	writeRefusal(w, http.StatusInternalServerError, internalError)
}

// internalError is the Refusal after a panic.
var internalError = &board.Refusal{Code: board.Unavailable, Message: "the dashboard made a mistake",
	Remedy: "The output of `tulle viz dashboard`, or the log of the pod, has the details. Please report them."}
