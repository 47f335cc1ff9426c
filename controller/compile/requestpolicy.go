package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// The annotations of routes and Services that say how requests are tried. Source: Linkerd, "retries" and "timeouts".
const (
	RetryHTTPAnnotation       = retryPrefix + "http"
	retryGRPCAnnotation       = retryPrefix + "grpc"
	retryLimitAnnotation      = retryPrefix + "limit"
	retryTimeoutAnnotation    = retryPrefix + "timeout"
	TimeoutRequestAnnotation  = timeoutPrefix + "request"
	timeoutResponseAnnotation = timeoutPrefix + "response"
	timeoutIdleAnnotation     = timeoutPrefix + "idle"
)

// maxRetries bounds the retries of one request.
const maxRetries = 100

// RequestSettings is what the annotations of a route or of a Service say about requests.
type RequestSettings struct {
	// tried and faulted say that there are annotations about retries and timeouts, and about faults, right or wrong.
	tried, faulted bool
	Policy         mesh.RequestPolicy
	// Accrual is of a Service alone.
	Accrual  *mesh.Accrual
	good     map[string]string
	Findings Findings
}

// Over returns the policy of a route whose Service has the settings under: a route that says anything about retries or
// timeouts says it all. Source: Linkerd. Faults are a matter of their own.
func (s RequestSettings) Over(under RequestSettings) mesh.RequestPolicy {
	out := under.Policy
	if s.tried {
		out.Timeouts, out.Retry = s.Policy.Timeouts, s.Policy.Retry
	}
	if s.faulted {
		out.FaultInjection = s.Policy.FaultInjection
	}
	return out
}

// RuleBounds is what a rule of an HTTPRoute says itself; nil says nothing, and 0 that there is no bound.
type RuleBounds struct {
	request, attempt *time.Duration
	retry            *mesh.Retry
}

// Over returns the policy of a rule, whose own word comes first, one by one.
func (b RuleBounds) Over(p mesh.RequestPolicy) mesh.RequestPolicy {
	if b.request != nil {
		p.Timeouts.Request = *b.request
	}
	if b.attempt != nil {
		p.Timeouts.Attempt = *b.attempt
	}
	switch {
	case b.retry == nil:
	case b.retry.Limit == 0:
		p.Retry = nil
	default:
		p.Retry = b.retry
	}
	return p
}

// ParseRequestSettings reads o's annotations, those of balancers only if o is a Service.
func ParseRequestSettings(o metav1.Object, now time.Time, service bool, prior RequestSettings) RequestSettings {
	r := newAnnotationReader(o, prior.good)
	if r == nil {
		return RequestSettings{}
	}
	out := RequestSettings{tried: r.has(retryPrefix, timeoutPrefix), faulted: r.has(faultPrefix)}
	t := &out.Policy.Timeouts
	t.Attempt, _ = readAnnotation(r, retryTimeoutAnnotation, anyDuration)
	t.Request, _ = readAnnotation(r, TimeoutRequestAnnotation, anyDuration)
	t.Response, _ = readAnnotation(r, timeoutResponseAnnotation, anyDuration)
	t.Idle, _ = readAnnotation(r, timeoutIdleAnnotation, anyDuration)
	out.Policy.Retry = r.retry()
	out.Policy.FaultInjection = r.fault(now)
	if service {
		out.Accrual = r.accrual()
	}
	r.leftOver(service)
	out.good, out.Findings = r.good, r.findings
	return out
}

// CheckAnnotations returns what is wrong with the annotations of a route or of a Service that say how requests are
// tried, as ParseRequestSettings would report them at the instant now.
func CheckAnnotations(o metav1.Object, service bool, now time.Time) Findings {
	return ParseRequestSettings(o, now, service, RequestSettings{}).Findings
}

// retry reads what is retried, and how often. Without an annotation that names failures there are none to retry.
func (r *annotationReader) retry() *mesh.Retry {
	statuses, http := readAnnotation(r, RetryHTTPAnnotation, parseStatuses)
	codes, grpc := readAnnotation(r, retryGRPCAnnotation, parseGRPCCodes)
	limit, limited := readAnnotation(r, retryLimitAnnotation, parseLimit)
	if limited && !r.has(RetryHTTPAnnotation, retryGRPCAnnotation) {
		r.problem(retryLimitAnnotation, fmt.Errorf("nothing says what to retry: want %s or %s", RetryHTTPAnnotation,
			retryGRPCAnnotation),
			"it has no effect")
	}
	if !limited {
		limit = defaultRetries
	}
	if limit == 0 || !http && !grpc {
		return nil
	}
	return &mesh.Retry{Statuses: statuses, GRPC: codes, Limit: limit}
}

func parseLimit(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxRetries {
		return 0, fmt.Errorf("%q is not a number of retries: want 0 to %d", clip(s), maxRetries)
	}
	return uint32(n), nil
}

// parseStatuses reads a list of statuses, ranges of them, and names of ranges.
func parseStatuses(s string) ([]mesh.StatusRange, error) {
	var out []mesh.StatusRange
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		switch strings.ToLower(word) {
		case "5xx":
			out = append(out, mesh.StatusRange{First: 500, Last: 599})
			continue
		case "gateway-error":
			out = append(out, mesh.StatusRange{First: 502, Last: 504})
			continue
		}
		from, to, isRange := strings.Cut(word, "-")
		first, err := parseStatus(from)
		last := first
		if isRange && err == nil {
			last, err = parseStatus(to)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is not a list of statuses: want codes of 100 to 599, ranges such as 502-504, 5xx or "+
				"gateway-error, with commas between them",
				clip(s))
		}
		out = append(out, mesh.StatusRange{First: first, Last: last})
	}
	return out, nil
}

func parseStatus(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 100 || n > 599 {
		return 0, fmt.Errorf("%q is not an HTTP status", clip(s))
	}
	return uint16(n), nil
}

// grpcCodes are gRPC's statuses but OK, by the names that Linkerd's annotations have. Source: gRPC, "Status codes and
// their use".
func grpcCodes() []string {
	return []string{
		1: "cancelled", 2: "unknown", 3: "invalid-argument", 4: "deadline-exceeded", 5: "not-found", 6: "already-exists",
		7: "permission-denied", 8: "resource-exhausted", 9: "failed-precondition", 10: "aborted", 11: "out-of-range",
		12: "unimplemented",
		13: "internal", 14: "unavailable", 15: "data-loss", 16: "unauthenticated",
	}
}

// retriedCodes are those that Linkerd lets be retried: of the others, a second try would say the same.
func retriedCodes() []string {
	return []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}
}

func parseGRPCCodes(s string) (uint32, error) {
	var out uint32
	for word := range strings.SplitSeq(s, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if !slices.Contains(retriedCodes(), word) {
			return 0, fmt.Errorf("%q is not a list of gRPC statuses that can be retried: want %s, with commas between them",
				clip(s), oneOf(retriedCodes()))
		}
		out |= 1 << slices.Index(grpcCodes(), word)
	}
	return out, nil
}

// oneOf lists words for people.
func oneOf(words []string) string { return "one of " + strings.Join(words, ", ") }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
