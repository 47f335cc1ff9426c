package model

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// kept is an object whose mistakes must not take effect: how it stands, and what of it is in force.
type lastValid[T any] struct {
	object     ObjectRef
	created    time.Time
	generation int64
	findings   compile.Findings
	// serving is the generation that spec is from: generation itself, an earlier one that was the last without problems, or 0 if there
	// never was any.
	active int64
	spec    T
}

// keep returns the record that takes old's place: with spec if nothing is wrong with the object, else with what old has in force.
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

func (k *lastValid[T]) inForce() string {
	if k.active == 0 {
		return "nothing of the object is in force"
	}
	return fmt.Sprintf("generation %d stays in force", k.active)
}

// valid reports whether anything of the object is in force.
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
		out[i].Message += "; " + k.inForce()
	}
	return out
}

// newMistakes returns the mistakes that old, the record before, did not have.
func (k *lastValid[T]) newProblems(old *lastValid[T]) compile.Findings {
	if old == nil {
		return k.mistakes()
	}
	return newFindings(old.mistakes(), k.mistakes())
}

// Conditions, and reasons that Gateway API has no name for. The ones of rate limits are Linkerd's.
const (
	reasonInvalid         = "Invalid"
	reasonNoTarget        = "NoMatchingTarget"
	reasonLimitExists     = "RateLimitReasonAlreadyExists"
	reasonConflicted      = "Conflicted"
	reasonNotFound        = "AuthenticationNotFound"
	conditionPartial      = "PartiallyInvalid"
	reasonUnsupported     = "UnsupportedValue"
	conditionAccepted     = "Accepted"
	conditionResolvedRefs = "ResolvedRefs"
)

// Judges reports whether statuses of objects without parents say something by conditions of that type, if there is something to say.
func Judges(conditionType string) bool {
	return conditionType == conditionAccepted || conditionType == conditionResolvedRefs || conditionType == conditionPartial
}

func yes(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// status returns the object's status: accepted, unless something is wrong with the object itself, and the others.
func (k *lastValid[T]) status(accepted metav1.Condition, others ...metav1.Condition) Status {
	if k.findings.Has(compile.Invalid) {
		accepted = no(conditionAccepted, reasonInvalid, k.explain(k.mistakes()))
	}
	s := Status{Object: k.object, Generation: k.generation, Conditions: append([]metav1.Condition{accepted}, others...)}
	if k.findings.Has(compile.Ignored) {
		s.Conditions = append(s.Conditions, yes(conditionPartial, reasonUnsupported, k.explain(k.findings.Of(compile.Ignored))))
	}
	for i := range s.Conditions {
		s.Conditions[i].ObservedGeneration = k.generation
	}
	return s
}

// maxExplained bounds how many mistakes a status tells: an object may hold thousands, and a message has 32 KiB.
const maxExplained = 8

func (k *lastValid[T]) explain(all compile.Findings) string {
	var lines []string
	for i, p := range all {
		if i == maxExplained {
			lines = append(lines, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// older orders by age and then by name: of two objects that want the same, the first wins.
func older[T any](a, b *lastValid[T]) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.object.Namespace, b.object.Namespace),
		cmp.Compare(a.object.Name, b.object.Name))
}
