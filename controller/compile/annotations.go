package compile

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/internal/spelling"
)

// Prefixes of the annotations that tune requests. All are Linkerd's but the last.
const (
	retryPrefix         = "retry.linkerd.io/"
	timeoutPrefix       = "timeout.linkerd.io/"
	balancerPrefix      = "balancer.linkerd.io/"
	balancerAlphaPrefix = "balancer.alpha.linkerd.io/"
	faultPrefix         = "fault.tulle.dev/"
)

// tuningPrefixes returns the beginnings of all annotations that tune requests.
func tuningPrefixes() []string {
	return []string{retryPrefix, timeoutPrefix, balancerPrefix, balancerAlphaPrefix, faultPrefix}
}

// tunes reports whether an annotation tunes requests.
func tunes(key string) bool { return tuningPrefix(key) != "unknown" }

// tuningPrefix returns the known beginning of an annotation that nothing reads.
func tuningPrefix(key string) string {
	for _, prefix := range tuningPrefixes() {
		if strings.HasPrefix(key, prefix) {
			return prefix
		}
	}
	return "unknown"
}

// annotationReader reads annotations one by one. A value that cannot be read keeps what the annotation said last, and
// is a Finding.
type annotationReader struct {
	texts    map[string]string
	prior    map[string]string // what each annotation said when it was last right
	good     map[string]string // the same, now
	read     map[string]struct{}
	findings Findings
}

// newAnnotationReader returns nil for an object none of whose annotations tune requests.
func newAnnotationReader(o metav1.Object, prior map[string]string) *annotationReader {
	for key := range o.GetAnnotations() {
		if tunes(key) {
			return &annotationReader{texts: o.GetAnnotations(), prior: prior, good: map[string]string{},
				read: map[string]struct{}{}}
		}
	}
	return nil
}

// has reports whether an annotation with the prefix is there, right or wrong.
func (r *annotationReader) has(prefixes ...string) bool {
	for key := range r.texts {
		for _, prefix := range prefixes {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
	}
	return false
}

// readAnnotation returns what the annotation says, or said last; ok is false if neither is anything.
func readAnnotation[T any](r *annotationReader, key string, parse func(string) (T, error)) (v T, ok bool) {
	r.read[key] = struct{}{}
	text, ok := r.texts[key]
	if !ok {
		return v, false
	}
	v, err := parse(strings.TrimSpace(text))
	if err == nil {
		r.good[key] = text
		return v, true
	}
	last, ok := r.prior[key]
	if !ok {
		r.problem(key, err, "it has no effect")
		var zero T
		return zero, false
	}
	r.problem(key, err, fmt.Sprintf("%q stays active", last))
	r.good[key] = last
	v, err = parse(strings.TrimSpace(last))
	return v, err == nil
}

func (r *annotationReader) problem(key string, err error, then string) {
	r.findings.invalid(key, fmt.Sprintf("%v; %s", err, then))
}

// leftOver reports annotations that nothing has read, on a Service or on a route. Most of them are misspelled.
func (r *annotationReader) leftOver(service bool) {
	known := sortedKeys(r.read)
	if !service {
		known = append(known, accrualAnnotations()...)
	}
	reported := 0
	for _, key := range sortedKeys(r.texts) {
		if _, ok := r.read[key]; ok || !tunes(key) {
			continue
		}
		message := "there is no such annotation; it has no effect"
		if reported++; reported <= maxListed { // the nearest name costs time, and an object may have thousands
			message = unreadMessage(key, known, service)
		}
		r.findings = append(r.findings, Finding{key, message, Ignored, ReasonUnknownAnnotation})
	}
}

// unreadMessage says why an annotation has no effect, and which one its author most likely meant.
func unreadMessage(key string, known []string, service bool) string {
	near := nearestAnnotation(key, known)
	if near == key {
		return "it has no effect on a route: it belongs to the Service"
	}
	want := near
	if near == "" {
		prefix := tuningPrefix(key)
		other := func(k string) bool { return !strings.HasPrefix(k, prefix) }
		want = oneOf(slices.DeleteFunc(slices.Clone(known), other))
	}
	if !service && slices.Contains(accrualAnnotations(), near) {
		want += " on the Service"
	}
	return fmt.Sprintf("there is no such annotation: want %s; it has no effect", want)
}

// nearestAnnotation returns the known annotation nearest to key, or "". Those with the prefix of key come first;
// what follows the prefix decides, since the prefixes are alike.
func nearestAnnotation(key string, known []string) string {
	prefix := tuningPrefix(key)
	var same, other []string
	names := map[string]string{}
	for _, k := range known {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			same = append(same, name)
			continue
		}
		name := strings.TrimPrefix(k, tuningPrefix(k))
		other, names[name] = append(other, name), k
	}
	wrong := strings.TrimPrefix(key, prefix)
	if near, ok := spelling.Nearest(wrong, same); ok {
		return prefix + near
	}
	near, _ := spelling.Nearest(wrong, other)
	return names[near]
}
