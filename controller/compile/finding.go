package compile

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Finding is something about an object that its author should know: a mistake, or a value without effect.
type Finding struct {
	// Path is the JSON path of the value, such as spec.rules[0].filters, or the key of an annotation. It is empty if
	// the finding is about the object as a whole.
	Path string
	// Message says what is wrong with the value, and possibly what applies instead.
	Message  string
	Severity Severity
	// Reason is a CamelCase word for machines: a condition reason of the Gateway API where one fits.
	Reason string
}

// Severity says what a finding means for requests.
type Severity uint8

const (
	// Ignored is a value without effect. The rest of the object works.
	Ignored Severity = iota
	// Unresolved is a reference that leads nowhere. Package compile finds those that no other object could mend, package
	// model the rest.
	Unresolved
	// Invalid is a mistake: the part of the object that has it cannot be used.
	Invalid
)

// Reasons that the Gateway API does not define.
const (
	ReasonInvalid           = "Invalid"
	ReasonUnknownField      = "UnknownField"
	ReasonUnknownAnnotation = "UnknownAnnotation"
)

const ReasonUnsupportedValue = string(gatewayv1.RouteReasonUnsupportedValue)

// String returns the finding for people: where, and what.
func (f Finding) String() string {
	switch {
	case f.Path == "":
		return f.Message
	case f.IsAnnotation():
		return "annotation " + clip(f.Path) + ": " + f.Message
	}
	return f.Path + ": " + f.Message
}

// IsAnnotation reports whether the finding is about an annotation.
func (f Finding) IsAnnotation() bool { return strings.Contains(f.Path, "/") }

// Field returns what metrics count the finding by. It comes from a fixed list: no index, and no name that a user
// invented.
func (f Finding) Field() string {
	switch f.Reason {
	case ReasonUnknownField:
		return "spec"
	case ReasonUnknownAnnotation:
		return tuningPrefix(f.Path)
	}
	var b strings.Builder
	for part := range strings.SplitSeq(f.Path, "[") {
		if _, after, ok := strings.Cut(part, "]"); ok {
			part = after
		}
		b.WriteString(part)
	}
	return b.String()
}

// Findings collects what is found in one object.
type Findings []Finding

// invalid notes that the value at the path cannot be used.
func (f *Findings) invalid(path string, why any) {
	*f = append(*f, Finding{path, fmt.Sprint(why), Invalid, ReasonInvalid})
}

// ignored notes that the value at the path has no effect.
func (f *Findings) ignored(path, why string) {
	*f = append(*f, Finding{path, why, Ignored, ReasonUnsupportedValue})
}

// Of returns the findings of one severity.
func (f Findings) Of(s Severity) Findings {
	var out Findings
	for _, x := range f {
		if x.Severity == s {
			out = append(out, x)
		}
	}
	return out
}

// Has reports whether there is a finding of the severity.
func (f Findings) Has(s Severity) bool {
	for i := range f {
		if f[i].Severity == s {
			return true
		}
	}
	return false
}

// RefuseUnknownFields makes fields of the spec that the kind does not have mistakes: leaving out a condition could let
// in more clients than were meant.
func (f *Findings) RefuseUnknownFields(paths []string) {
	for _, path := range paths {
		if strings.HasPrefix(path, "spec") {
			*f = append(*f, Finding{path, "is not a field of this kind", Invalid, ReasonUnknownField})
		}
	}
}

// IgnoreUnknownFields notes fields of the spec that the kind does not have.
func (f *Findings) IgnoreUnknownFields(paths []string) {
	for _, path := range paths {
		if strings.HasPrefix(path, "spec") && len(*f) < maxFindings {
			f.ignored(path, "this field is not supported and has no effect")
		}
	}
}

// maxListed is how many mistakes one message names. The others appear when these are corrected.
const maxListed = 8

// List joins what people are to read, the first ones of a long list.
func List(texts []string) string {
	if more := len(texts) - maxListed; more > 0 {
		texts = append(slices.Clone(texts[:maxListed]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// Join joins the texts that are not empty.
func Join(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "; ")
}

// Strings returns the findings for people, one text each.
func (f Findings) Strings() []string {
	out := make([]string, len(f))
	for i := range f {
		out[i] = f[i].String()
	}
	return out
}
