package web

import (
	"cmp"
	"context"
	"net/http"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// Viewer is somebody who looks at pages.
type Viewer struct {
	// Key differs between viewers who have different rights.
	Key string
	// Name is what the cluster calls the viewer; "" if not known.
	Name string
	// Sources returns what a page is built from, with the viewer's rights. Each page is built from one of its own,
	// because objects are read once.
	Sources func() board.Sources
	// Post reaches the tap API with the viewer's rights.
	Post tapclient.Post
}

// account is what the bounds of one viewer count by. A user may have any number of tokens.
func (v Viewer) account() string { return cmp.Or(v.Name, v.Key) }

// viewerKey is the key of a request's Viewer in its context.
type viewerKey struct{}

func withViewer(r *http.Request, v Viewer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), viewerKey{}, v))
}

// viewerOf returns the viewer of a request, which the checks before its handler found.
func viewerOf(r *http.Request) Viewer {
	v, ok := r.Context().Value(viewerKey{}).(Viewer)
	if !ok {
		panic("a request without a viewer has reached a handler")
	}
	return v
}
