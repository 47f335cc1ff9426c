package model

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// serverTarget is what a Server is about. Of several Servers with the same one only the oldest has an effect, whichever
// pods there are.
type serverTarget struct {
	namespace string
	selector  string // in one spelling; see selectorText
	port      uint16
	portName  string
}

// target returns what a Server is about; ok is false for one that selects nothing.
func (sv *server) target() (t serverTarget, ok bool) {
	if sv == nil || !sv.valid() || sv.spec.Selector == nil {
		return t, false
	}
	return serverTarget{
		namespace: sv.key().Namespace, selector: selectorText(sv.spec.Selector), port: sv.spec.Port,
		portName: sv.spec.PortName,
	}, true
}

// selectorText writes a selector such that selectors of the same pods are mostly the same text: a label that is one
// value may be written in three ways.
func selectorText(s labels.Selector) string {
	requirements, selectable := s.Requirements()
	if !selectable {
		return "none"
	}
	var parts []string
	for _, r := range requirements {
		operator := r.Operator()
		switch operator {
		case selection.Equals, selection.DoubleEquals:
			operator = selection.In
		case selection.NotEquals:
			operator = selection.NotIn
		}
		parts = append(parts, r.Key()+" "+string(operator)+" "+strings.Join(r.Values().List(), ","))
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ";")
}

// updateDuplicates records that old became now; either may be nil. It marks the outcomes of the Servers with the same
// target if another one is the oldest now.
func (s *Store) updateDuplicates(old, now *server) {
	duplicates := s.access.duplicates
	if t, ok := old.target(); ok {
		before := oldest(duplicates[t])
		delete(duplicates[t], old)
		if before == old {
			s.touchDuplicates(t)
		}
		if len(duplicates[t]) == 0 {
			delete(duplicates, t)
		}
	}
	if t, ok := now.target(); ok {
		if duplicates[t] == nil {
			duplicates[t] = map[*server]struct{}{}
		}
		duplicates[t][now] = struct{}{}
		if oldest(duplicates[t]) == now {
			s.touchDuplicates(t)
		}
	}
}

func (s *Store) touchDuplicates(t serverTarget) {
	for sv := range s.access.duplicates[t] {
		s.outcomes.touch(keyOf(compile.ServerRef(sv.key())))
	}
}

// oldest returns the Server that has an effect, nil for none.
func oldest(duplicates map[*server]struct{}) *server {
	var first *server
	for sv := range duplicates {
		if first == nil || older(&sv.lastValid, &first.lastValid) < 0 {
			first = sv
		}
	}
	return first
}

// supersededBy returns the names of the older Servers that keep sv from a port of a pod, or that are about the same as
// sv, sorted.
func (s *Store) supersededBy(sv *server) []string {
	var names []string
	for n := range s.access.overlaps[sv.key()] {
		names = append(names, n.Name)
	}
	if t, ok := sv.target(); ok {
		if first := oldest(s.access.duplicates[t]); first != sv {
			names = append(names, first.key().Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
