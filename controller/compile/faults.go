package compile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// The annotations of routes and Services that make requests fail on purpose.
const (
	faultAbortHTTPAnnotation    = faultPrefix + "abort-http"
	faultAbortGRPCAnnotation    = faultPrefix + "abort-grpc"
	faultAbortPercentAnnotation = faultPrefix + "abort-percent"
	FaultDelayAnnotation        = faultPrefix + "delay"
	faultDelayPercentAnnotation = faultPrefix + "delay-percent"
	FaultUntilAnnotation        = faultPrefix + "until"
)

const (
	// maxFault is how far ahead of now a fault may end: a forgotten fault lasts a day, not a year.
	maxFault = 24 * time.Hour
	maxDelay = 5 * time.Minute
	// allRequests is the share where none is named.
	allRequests = 100
)

// fault reads the fault to inject; nil for none, also if one of the annotations is wrong: half a fault is not what
// anybody asked for, and an earlier one must not outlive its annotations.
func (r *annotationReader) fault(now time.Time) *mesh.FaultInjection {
	prior, before := r.prior, len(r.findings)
	r.prior = nil
	defer func() { r.prior = prior }()
	var out mesh.FaultInjection
	var abort, abortGRPC, delayed, bounded bool
	out.AbortStatus, abort = readAnnotation(r, faultAbortHTTPAnnotation, parseAbortStatus)
	out.AbortGRPC, abortGRPC = readAnnotation(r, faultAbortGRPCAnnotation, parseAbortCode)
	out.AbortPercent = r.percent(faultAbortPercentAnnotation)
	out.Delay, delayed = readAnnotation(r, FaultDelayAnnotation, parseDelay)
	out.DelayPercent = r.percent(faultDelayPercentAnnotation)
	out.Until, bounded = readAnnotation(r, FaultUntilAnnotation,
		func(s string) (time.Time, error) { return ParseUntil(s, now) })
	if len(r.findings) > before || !r.has(faultPrefix) {
		return nil
	}
	if !bounded {
		r.problem(FaultUntilAnnotation, errors.New("is missing: want the time when the fault ends, such as "+
			"2026-01-31T15:04:05Z"), "no fault is injected")
		return nil
	}
	if !abort && !abortGRPC && !delayed {
		return nil
	}
	if !abort && !abortGRPC {
		out.AbortPercent = 0
	}
	if !delayed {
		out.DelayPercent = 0
	}
	return &out
}

func (r *annotationReader) percent(key string) float64 {
	if p, ok := readAnnotation(r, key, parsePercent); ok {
		return p
	}
	return allRequests
}

func parsePercent(s string) (float64, error) {
	p, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(p) || p < 0 || p > 100 {
		return 0, fmt.Errorf("%q is not a percentage: want a number from 0 to 100", clip(s))
	}
	return p, nil
}

func parseAbortStatus(s string) (uint16, error) {
	n, err := parseStatus(s)
	if err != nil || n < 400 {
		return 0, fmt.Errorf("%q is not an error status: want 400 to 599", clip(s))
	}
	return n, nil
}

// parseAbortCode reads a gRPC status by name or by number.
func parseAbortCode(s string) (uint8, error) {
	codes := grpcCodes()
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n >= 1 && int(n) < len(codes) {
		return uint8(n), nil
	}
	if n := slices.Index(codes, strings.ToLower(s)); n > 0 {
		return uint8(n), nil
	}
	return 0, fmt.Errorf("%q is not a gRPC error status: want 1 to 16 or %s", clip(s), oneOf(codes[1:]))
}

func parseDelay(s string) (time.Duration, error) {
	d, err := anyDuration(s)
	if err != nil {
		return 0, err
	}
	if d == 0 || d > maxDelay {
		return 0, fmt.Errorf("%q is not a delay: want more than 0 and at most %v", clip(s), maxDelay)
	}
	return d, nil
}

// ParseUntil reads when a fault ends. A time too far ahead of now is an error; the zero now takes any.
func ParseUntil(s string, now time.Time) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.IsZero() {
		return time.Time{}, fmt.Errorf("%q is not a time: want RFC 3339, such as 2026-01-31T15:04:05Z", clip(s))
	}
	if !now.IsZero() && t.Sub(now) > maxFault {
		return time.Time{}, fmt.Errorf("%q is more than %v from now: a fault must end within that time", clip(s), maxFault)
	}
	return t.UTC(), nil
}
