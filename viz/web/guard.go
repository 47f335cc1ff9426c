package web

import (
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/viz/board"
)

// policy is the Content-Security-Policy of every answer. Nothing inline runs, and nothing comes from elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler: the checks that every request passes, in their order.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.recovered(w, r)
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !s.ownHost(r) {
		refuse(w, http.StatusForbidden, &board.Refusal{Code: board.Forbidden,
			Message: "this host is not one of the dashboard's", Remedy: "Open the address that `tulle viz dashboard` printed."})
		return
	}
	api := strings.HasPrefix(r.URL.Path, "/api/")
	if api && !sameOrigin(r) {
		refuse(w, http.StatusForbidden, &board.Refusal{Code: board.Forbidden,
			Message: "the request comes from another page than the dashboard"})
		return
	}
	switch {
	case !api && s.session.begin(w, r):
	case s.session.holds(r):
		s.mux.ServeHTTP(w, r)
	case api:
		refuse(w, http.StatusUnauthorized, &board.Refusal{Code: board.Forbidden, Message: "there is no session",
			Remedy: "Open the address that `tulle viz dashboard` printed."})
	default:
		askForToken(w)
	}
}

// ownHost reports whether the request names a host of the dashboard. A page whose own name resolves to this server's
// address sends that name.
func (s *Server) ownHost(r *http.Request) bool {
	return slices.Contains(s.cfg.Hosts, strings.ToLower(r.Host))
}

// sameOrigin reports whether the dashboard itself sent a request, or a viewer who typed its address. Browsers say so in
// one of two headers, or in both; other programs send neither.
func sameOrigin(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin":
		return true
	case "none":
		return r.Method == http.MethodGet
	}
	return false
}

// recovered ends a request that panicked, and says so.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler {
		panic(fault)
	}
	s.cfg.Log.Error("request panicked", zap.String("path", r.URL.Path), zap.Any("panic", fault), zap.Stack("stack"))
	refuse(w, http.StatusInternalServerError, &board.Refusal{Code: board.Unavailable,
		Message: "the dashboard made a mistake", Remedy: "The output of `tulle viz dashboard` has it; please report it."})
}
