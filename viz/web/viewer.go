package web

import (
	"cmp"
	"context"
	"net/http"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// Viewer is a person who opens pages of the dashboard.
type Viewer struct {
	// Key is equal only for viewers with the same rights: they share pages.
	Key string
	// Name is what the cluster calls the viewer; "" if not known.
	Name string
	// Sources returns new sources of a page, with the viewer's rights. Each build of a page has its own, because sources
	// cache the objects that they read.
	Sources func() board.Sources
	// Post reaches the tap API with the viewer's rights.
	Post tapclient.Post
}

// account is the key of a viewer's limits: the name, because a user may have any number of tokens.
func (v Viewer) account() string { return cmp.Or(v.Name, v.Key) }

// viewerKey is the key of a request's Viewer in its context.
type viewerKey struct{}

func withViewer(r *http.Request, v Viewer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), viewerKey{}, v))
}

// viewerOf returns the viewer of a request, which ServeHTTP has found. It panics without one.
func viewerOf(r *http.Request) Viewer {
	v, ok := r.Context().Value(viewerKey{}).(Viewer)
	if !ok {
		panic("a request without a viewer has reached a handler")
	}
	return v
}
