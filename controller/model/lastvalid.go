package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// lastValid is an object whose mistakes must not take effect: its latest state, and the spec that is active.
type lastValid[T any] struct {
	object     ObjectRef
	created    time.Time
	generation int64
	findings   compile.Findings
	// active is the generation that spec is from: generation itself, an earlier one that was the last without mistakes,
	// or 0 if there never was any.
	active int64
	spec   T
}

// withLastValid returns the record that takes old's place: with spec if nothing is wrong with the object, otherwise
// with the spec that old has active.
func withLastValid[T any](ref ObjectRef, o metav1.Object, spec T, f compile.Findings, old *lastValid[T]) lastValid[T] {
	ref.Namespace, ref.Name, ref.UID = o.GetNamespace(), o.GetName(), o.GetUID()
	k := lastValid[T]{
		object: ref, created: o.GetCreationTimestamp().Time, generation: o.GetGeneration(), findings: f, spec: spec,
	}
	// A new object has generation 1; objects that no API server has seen, as in a file, have none.
	k.active = max(k.generation, 1)
	if !f.Has(compile.Invalid) {
		return k
	}
	var none T
	k.active, k.spec = 0, none
	if old != nil && old.object.UID == ref.UID {
		k.active, k.spec = old.active, old.spec
	}
	return k
}

func (k *lastValid[T]) effect() string {
	if k.active == 0 {
		return "no part of the object is active"
	}
	return activeGeneration(k.active)
}

func activeGeneration(n int64) string { return fmt.Sprintf("generation %d stays active", n) }

// valid reports whether any part of the object is active.
func (k *lastValid[T]) valid() bool { return k.active != 0 }

func (k *lastValid[T]) key() types.NamespacedName {
	return types.NamespacedName{Namespace: k.object.Namespace, Name: k.object.Name}
}

func (k *lastValid[T]) ref() mesh.Ref {
	return mesh.Ref{Group: k.object.Group, Kind: k.object.Kind, Namespace: k.object.Namespace, Name: k.object.Name}
}

// mistakes returns what is wrong with the object, with what applies instead.
func (k *lastValid[T]) mistakes() compile.Findings {
	out := k.findings.Of(compile.Invalid)
	for i := range out {
		out[i].Message += "; " + k.effect()
	}
	return out
}

// newProblems returns the mistakes that old, the record before, did not have.
func (k *lastValid[T]) newProblems(old *lastValid[T]) compile.Findings {
	if old == nil {
		return k.mistakes()
	}
	return newFindings(old.mistakes(), k.mistakes())
}

// outcome returns the object's outcome: accepted, unless something is wrong with the object itself or was rejected in
// result.
func (k *lastValid[T]) outcome(result Result) Outcome {
	found := slices.Clone(k.findings)
	for i := range found {
		if found[i].Severity == compile.Invalid {
			found[i].Reason, result.Effect = compile.ReasonInvalid, k.effect()
		}
	}
	result.Findings = append(found, result.Findings...)
	return Outcome{Object: k.object, Generation: k.generation, Result: &result}
}

// older orders by age and then by name: of two objects that want the same, the first wins.
func older[T any](a, b *lastValid[T]) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.object.Namespace, b.object.Namespace),
		cmp.Compare(a.object.Name, b.object.Name))
}
