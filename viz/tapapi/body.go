package tapapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// readBody returns the query of a request, and the labels of the pods. A field that it does not know is an error.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (tap.Query, string, *refusal) {
	invalid := func(err error) (tap.Query, string, *refusal) {
		status := http.StatusBadRequest
		if errors.Is(err, os.ErrDeadlineExceeded) {
			status, err = http.StatusRequestTimeout, fmt.Errorf("it did not come within %v", s.bodyTimeout)
		}
		return tap.Query{}, "", &refusal{"invalid", status, fmt.Sprintf("read the request: %v", err)}
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(s.bodyTimeout)); err != nil {
		return invalid(err)
	}
	var body tap.Request
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return invalid(err)
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return invalid(err)
	}
	direction, known := map[string]mesh.TapDirection{
		"": mesh.TapBoth, "inbound": mesh.TapInbound, "outbound": mesh.TapOutbound,
	}[body.Direction]
	if !known {
		return invalid(fmt.Errorf("direction %q: want inbound or outbound", body.Direction))
	}
	if body.MaxRPS == 0 {
		body.MaxRPS = mesh.DefaultTapRate
	}
	if body.MaxRPS < 0 || body.MaxRPS > mesh.MaxTapRate {
		return invalid(fmt.Errorf("maxRps %d: want 1 to %d", body.MaxRPS, mesh.MaxTapRate))
	}
	if _, err := metav1.ParseToLabelSelector(body.LabelSelector); err != nil {
		return invalid(fmt.Errorf("labelSelector: %w", err))
	}
	return tap.Query{MaxPerSecond: body.MaxRPS, TapQuery: mesh.TapQuery{
		Direction: direction, Method: body.Method, Scheme: body.Scheme, Authority: body.Authority,
		PathPrefix: body.PathPrefix, Headers: body.Headers, PerSecond: uint32(body.MaxRPS),
		To: mesh.TapDestination{Namespace: body.To.Namespace, Kind: body.To.Kind, Name: body.To.Name},
	}}, body.LabelSelector, nil
}
