package compile

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Prefixes of the annotations that tune requests. All are Linkerd's but the last.
const (
	retryPrefix         = "retry.linkerd.io/"
	timeoutPrefix       = "timeout.linkerd.io/"
	balancerPrefix      = "balancer.linkerd.io/"
	balancerAlphaPrefix = "balancer.alpha.linkerd.io/"
	faultPrefix         = "fault.tulle.dev/"
)

// tunes reports whether an annotation tunes requests.
func tunes(key string) bool {
	for _, prefix := range [...]string{retryPrefix, timeoutPrefix, balancerPrefix, balancerAlphaPrefix, faultPrefix} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// tuningPrefix returns the known beginning of an annotation that nothing reads.
func tuningPrefix(key string) string {
	for _, prefix := range [...]string{retryPrefix, timeoutPrefix, faultPrefix, AccrualAnnotation, accrualAlphaPrefix} {
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

// leftOver reports annotations with one of the prefixes that nothing reads. Most of them are misspelled.
func (r *annotationReader) leftOver(prefixes ...string) {
	for _, key := range sortedKeys(r.texts) {
		if _, ok := r.read[key]; ok {
			continue
		}
		for _, prefix := range prefixes {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			var known []string
			for _, k := range sortedKeys(r.read) {
				if strings.HasPrefix(k, prefix) {
					known = append(known, k)
				}
			}
			r.findings = append(r.findings, Finding{
				key, fmt.Sprintf("there is no such annotation: want %s; it has no effect",
					oneOf(known)), Ignored, ReasonUnknownAnnotation,
			})
		}
	}
}
