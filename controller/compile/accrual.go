package compile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// The annotations of Services that say when an endpoint is left out. Source: Linkerd, "circuit breaking".
const (
	AccrualAnnotation = balancerPrefix + "failure-accrual"

	consecutivePrefix     = AccrualAnnotation + "-consecutive-"
	maxFailuresAnnotation = consecutivePrefix + "max-failures"
	minPenaltyAnnotation  = consecutivePrefix + "min-penalty"
	maxPenaltyAnnotation  = consecutivePrefix + "max-penalty"
	jitterRatioAnnotation = consecutivePrefix + "jitter-ratio"

	accrualAlphaPrefix             = balancerAlphaPrefix + "failure-accrual"
	successRatePrefix              = accrualAlphaPrefix + "-success-rate-"
	successRateThresholdAnnotation = successRatePrefix + "threshold"
	successRateWindowAnnotation    = successRatePrefix + "window"
	minRequestsAnnotation          = successRatePrefix + "min-requests"
)

const (
	accrualConsecutive = "consecutive"
	accrualUnified     = "unified"
	defaultMaxFailures = 7
	defaultMinPenalty  = time.Second
	defaultMaxPenalty  = time.Minute
	defaultJitter      = 0.5
	defaultSuccessRate = 0.8
	defaultWindow      = 10 * time.Second
	defaultMinRequests = 5
	maxJitter          = 100
	maxAccrualFailures = math.MaxUint16
	maxAccrualWindow   = 10 * time.Minute
	minAccrualPenalty  = time.Millisecond
	minAccrualWindow   = 100 * time.Millisecond
)

// accrualAnnotations returns the annotations that accrual reads.
func accrualAnnotations() []string {
	return []string{AccrualAnnotation, maxFailuresAnnotation, minPenaltyAnnotation, maxPenaltyAnnotation,
		jitterRatioAnnotation, successRateThresholdAnnotation, successRateWindowAnnotation, minRequestsAnnotation}
}

// accrual reads how endpoints are ejected; nil for never.
func (r *annotationReader) accrual() *mesh.Accrual {
	mode, ok := readAnnotation(r, AccrualAnnotation, parseAccrualMode)
	a := mesh.Accrual{
		MaxFailures: orDefault(r, maxFailuresAnnotation, parseFailures, defaultMaxFailures),
		MinPenalty:  orDefault(r, minPenaltyAnnotation, parsePenalty, defaultMinPenalty),
		MaxPenalty:  orDefault(r, maxPenaltyAnnotation, parsePenalty, defaultMaxPenalty),
		Jitter:      orDefault(r, jitterRatioAnnotation, ratio(maxJitter), defaultJitter),
	}
	rate := orDefault(r, successRateThresholdAnnotation, ratio(1), defaultSuccessRate)
	window := orDefault(r, successRateWindowAnnotation, parseWindow, defaultWindow)
	requests := orDefault(r, minRequestsAnnotation, parseFailures, defaultMinRequests)
	if mode == accrualUnified {
		a.SuccessRate, a.Window, a.MinRequests = rate, window, requests
	}
	if !r.has(AccrualAnnotation, accrualAlphaPrefix) {
		return nil
	}
	if a.MinPenalty > a.MaxPenalty {
		r.problem(minPenaltyAnnotation,
			fmt.Errorf("%v is more than the greatest penalty, %v", a.MinPenalty, a.MaxPenalty),
			"the lesser of both is used for both")
		a.MinPenalty = a.MaxPenalty
	}
	if !ok {
		if _, given := r.texts[AccrualAnnotation]; !given {
			r.problem(AccrualAnnotation, errors.New("is missing: want consecutive or unified"), "no endpoint is ejected")
		}
		return nil
	}
	return &a
}

func orDefault[T any](r *annotationReader, key string, parse func(string) (T, error), otherwise T) T {
	if v, ok := readAnnotation(r, key, parse); ok {
		return v
	}
	return otherwise
}

func parseAccrualMode(s string) (string, error) {
	if s != accrualConsecutive && s != accrualUnified {
		return "", fmt.Errorf("%q is not a mode of failure accrual: want consecutive or unified", clip(s))
	}
	return s, nil
}

func parseFailures(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n > maxAccrualFailures {
		return 0, fmt.Errorf("%q is not a count: want 1 to %d", clip(s), maxAccrualFailures)
	}
	return uint32(n), nil
}

func parsePenalty(s string) (time.Duration, error) {
	d, err := anyDuration(s)
	if err != nil {
		return 0, err
	}
	if d < minAccrualPenalty {
		return 0, fmt.Errorf("%q is not a penalty: want %v at least", clip(s), minAccrualPenalty)
	}
	return d, nil
}

func parseWindow(s string) (time.Duration, error) {
	d, err := anyDuration(s)
	if err != nil {
		return 0, err
	}
	if d < minAccrualWindow || d > maxAccrualWindow {
		return 0, fmt.Errorf("%q is not a window: want %v to %v", clip(s), minAccrualWindow, maxAccrualWindow)
	}
	return d, nil
}

func ratio(most float64) func(string) (float64, error) {
	return func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || f < 0 || f > most {
			return 0, fmt.Errorf("%q is not a ratio: want 0 to %v", clip(s), most)
		}
		return f, nil
	}
}
