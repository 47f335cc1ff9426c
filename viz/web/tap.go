package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// maxTapBody bounds the body of POST /api/tap in bytes, and bodyTimeout the wait for it.
const (
	maxTapBody  = 16 << 10
	bodyTimeout = 5 * time.Second
)

// tapRequest is the body of POST /api/tap. Its fields are the flags of `tulle viz tap`.
type tapRequest struct {
	// Target is what to watch: a workload, a pod, or a namespace; a kind without a name is all of the kind.
	Target board.Ref `json:"target"`
	// To is the destination of the requests; its kind is "" for every destination.
	To        board.Ref `json:"to"`
	Selector  string    `json:"selector"`
	MaxRPS    int       `json:"maxRps"`    // requests per second; 0 means 100
	Direction string    `json:"direction"` // "inbound", "outbound" or "" for both
	Scheme    string    `json:"scheme"`
	Method    string    `json:"method"`
	Authority string    `json:"authority"`
	Path      string    `json:"path"` // a prefix
}

// tapRefusal is the last line of a stream that the server ended.
type tapRefusal struct {
	Refusal *board.Refusal `json:"refusal"`
}

// errCredentialsOld ends a request that has lasted as long as its credentials count, and watchOld is what a tap says.
var (
	errCredentialsOld = errors.New("the credentials of the request are old")
	watchOld          = &board.Refusal{Code: board.Unavailable,
		Message: fmt.Sprintf("A watch ends after %v, because your rights may have changed.", credentialsFor),
		Remedy:  "The page starts it again."}
)

// serveTap watches requests with the viewer's rights, and sends each message of the watch as a line of JSON, until the
// viewer leaves. A refusal before the first message is an answer with a status of its own.
func (s *Server) serveTap(w http.ResponseWriter, r *http.Request) {
	target, query, err := readTap(w, r)
	if err != nil {
		writeRefusal(w, http.StatusBadRequest, board.Refuse(err))
		return
	}
	release, ok := s.taps.acquire(w, viewerOf(r).account())
	if !ok {
		return
	}
	defer release()
	began := false
	send := func(value any) error {
		line, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode message: %w", err)
		}
		if !began {
			began = true
			w.Header().Set("Content-Type", tap.ContentType)
			w.Header().Set("X-Accel-Buffering", "no") // an nginx in front of it sends each message on at once
		}
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // httptest's recorder has none
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		return control.Flush()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // ends the watch if the viewer does not read
	err = tapclient.Watch(ctx, viewerOf(r).Post, target, query, func(m tap.Message) error { return send(m) })
	switch {
	case began && context.Cause(r.Context()) == errCredentialsOld:
		_ = send(tapRefusal{watchOld}) // the viewer left
	case err == nil || r.Context().Err() != nil: // the viewer left
	case began:
		_ = send(tapRefusal{board.Refuse(err)}) // the viewer left
	default:
		why := board.Refuse(err)
		writeRefusal(w, statusOf(why), why)
	}
}

// readTap returns what the body asks for.
func readTap(w http.ResponseWriter, r *http.Request) (tapclient.Target, tap.Request, error) {
	invalid := func(format string, args ...any) (tapclient.Target, tap.Request, error) {
		return tapclient.Target{}, tap.Request{}, &board.Refusal{Code: board.BadRequest,
			Message: metrics.Printable(fmt.Sprintf(format, args...), 500)}
	}
	// The deadline must not stay: once the body is read, it would end the request's context.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // httptest's recorder has none
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	var body tapRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTapBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return invalid("decode body: %v", err)
	}
	if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
		return invalid("decode body: more than one JSON value")
	}
	kind, err := tapKind("target", body.Target)
	switch {
	case err != nil:
		return invalid("%v", err)
	case !kind.HasPods():
		return invalid("target: %s have no proxies: name a workload, a pod or a namespace", kind.Plural)
	case kind.Class == resource.ByPod && body.Target.Name == "":
		return invalid("target: name one of the %s", kind.Plural)
	case body.Target.Namespace == "" && (kind.Name != resource.Namespace || body.Target.Name == ""):
		return invalid("target: name a namespace")
	case body.MaxRPS < 0 || body.MaxRPS > mesh.MaxTapRate:
		return invalid("maxRps %d: want at most %d", body.MaxRPS, mesh.MaxTapRate)
	}
	if _, err := metav1.ParseToLabelSelector(body.Selector); err != nil {
		return invalid("selector %q: %v", body.Selector, err)
	}
	query := tap.Request{LabelSelector: body.Selector, MaxRPS: body.MaxRPS, Direction: body.Direction,
		Method: strings.ToUpper(body.Method), Scheme: strings.ToLower(body.Scheme), Authority: body.Authority,
		PathPrefix: body.Path, Headers: true}
	if body.To.Kind != "" {
		if query.To, err = tapDestination(body.To); err != nil {
			return invalid("%v", err)
		}
	}
	return tapclient.Target{Namespace: body.Target.Namespace, Kind: kind, Name: body.Target.Name}, query, nil
}

// tapKind returns the kind of an object. It refuses names that would be more than one part of a path.
func tapKind(field string, ref board.Ref) (resource.Kind, error) {
	kind, err := resource.ParseKind(ref.Kind)
	if err != nil {
		return kind, fmt.Errorf("%s: %w", field, err)
	}
	for _, name := range []string{ref.Namespace, ref.Name} {
		if faults := content.IsPathSegmentName(name); len(faults) > 0 && kind.InCluster() {
			return kind, fmt.Errorf("%s %q: a name %s", field, name, faults[0])
		}
	}
	return kind, nil
}

// tapDestination returns what an object means as a destination.
func tapDestination(to board.Ref) (tap.Destination, error) {
	kind, err := tapKind("to", to)
	switch {
	case err != nil:
		return tap.Destination{}, err
	case kind.Name == "authority":
		return tap.Destination{Kind: kind.Name, Name: to.Name}, nil
	case !kind.HasPods() && kind.Class != resource.Called:
		return tap.Destination{}, fmt.Errorf("to: %s receive no requests", kind.Plural)
	case kind.Name == resource.Namespace && to.Name != "":
		return tap.Destination{Namespace: to.Name}, nil
	case kind.Name == resource.Namespace:
		return tap.Destination{Namespace: to.Namespace}, nil
	}
	return tap.Destination{Namespace: to.Namespace, Kind: kind.Name, Name: to.Name}, nil
}
