package policywarning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tulle-mesh/tulle/cli/learn"
	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

const (
	// Lookback is the time window of the callers that count.
	Lookback = time.Hour
	// maxLines bounds the warnings of one request, and maxLine the bytes of each: kubectl cuts off what is longer.
	maxLines = 4
	maxLine  = 240
)

// errNoNumbers means that no caller is known.
var errNoNumbers = errors.New("no numbers")

// warnings returns one line for each caller that the change in a request would cut off, up to a bound.
func (s *Server) warnings(ctx context.Context, req *admissionv1.AdmissionRequest) ([]string, error) {
	if s.cfg.Source == nil {
		return nil, errNoNumbers
	}
	object, err := objectOf(req)
	if err != nil {
		return nil, err
	}
	config, events, err := s.cfg.Read(ctx, req.Namespace)
	if err != nil {
		return nil, fmt.Errorf("read the cluster: %w", err)
	}
	before := learn.NewWorld(config, events)
	change := learn.Manifests{Namespace: req.Namespace, Now: s.cfg.Now(), Objects: []*manifest.Object{object}}
	var after *learn.World
	if req.Operation == admissionv1.Delete {
		after, err = before.Delete(events, change)
	} else {
		after, _, err = before.Apply(events, change)
	}
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil || len(learn.Affected(before, after)) == 0 {
		return nil, ctx.Err()
	}
	namespaces := []string{req.Namespace}
	answer, err := s.cfg.Source.Ask(ctx, Lookback, learn.Queries(namespaces))
	if err != nil {
		return nil, fmt.Errorf("ask for the numbers: %w", err)
	}
	seen := learn.Read(before, namespaces, answer.Samples)
	if len(seen.Seen) == 0 && len(seen.Earlier) == 0 {
		return nil, errNoNumbers
	}
	window := Lookback
	if answer.Window > 0 {
		window = answer.Window
	}
	return lines(learn.WhatIf(before, after, seen, window.Seconds()).Changes), nil
}

// objectOf returns the object that a request creates, updates or deletes.
func objectOf(req *admissionv1.AdmissionRequest) (*manifest.Object, error) {
	raw := req.Object.Raw
	if req.Operation == admissionv1.Delete {
		raw = req.OldObject.Raw
	}
	object := &manifest.Object{}
	if err := json.Unmarshal(raw, &object.Tree); err != nil {
		return nil, fmt.Errorf("decode the object: %w", err)
	}
	return object, nil
}

// lines returns warnings about the callers that are cut off. They come first in changes.
func lines(changes []learn.Change) (out []string) {
	more := 0
	for _, c := range changes {
		switch {
		case c.Effect != learn.Denied && c.Effect != learn.MayDeny:
		case len(out) == maxLines:
			more++
		default:
			out = append(out, line(c))
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("… and %d more: tulle policy what-if -f FILE", more))
	}
	return out
}

// line returns a sentence about one caller. It cuts long names, so the rate always fits.
func line(c learn.Change) string {
	effect := "would be denied"
	if c.Effect == learn.MayDeny {
		effect = "may be denied"
	}
	client := "clients without identity"
	if c.Client != "" {
		client = metrics.Printable(c.Client, 100)
	}
	unit := "request"
	if c.Opaque {
		unit = "connection"
	}
	rate := fmt.Sprintf("%.3g", c.Rate)
	if rate != "1" {
		unit += "s"
	}
	seen := fmt.Sprintf("%s %s a second", rate, unit)
	if c.Earlier {
		seen = "called earlier"
	}
	workload := metrics.Printable(c.Workload, 70)
	return metrics.Printable(fmt.Sprintf("%s %s at %s port %d (%s)", client, effect, workload, c.Port, seen), maxLine)
}
