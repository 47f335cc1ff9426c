package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// results are the ends of the suite's tests of a mesh.
type results struct{ passed, failed, skipped []string }

func (r *results) add(end, test string) {
	switch end {
	case "PASS":
		r.passed = append(r.passed, test)
	case "FAIL":
		r.failed = append(r.failed, test)
	default:
		r.skipped = append(r.skipped, test)
	}
}

func (r results) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", len(r.passed), len(r.failed), len(r.skipped))
}

// checkComplete returns why a run of want tests is not good enough. Which test was asked for alone, others skip.
func (r results) checkComplete(want int) error {
	switch {
	case len(r.failed) > 0:
		return fmt.Errorf("failed: %s", strings.Join(r.failed, ", "))
	case want > 1 && len(r.skipped) > 0:
		return fmt.Errorf("skipped: %s", strings.Join(r.skipped, ", "))
	case len(r.passed) < want:
		return fmt.Errorf("%d of %d tests ran", len(r.passed), want)
	}
	return nil
}

// report is what this command reads of a conformance report. Source: Gateway API apis/v1 ConformanceReport.
type report struct {
	Channel  string    `json:"gatewayAPIChannel"`
	Version  string    `json:"gatewayAPIVersion"`
	Profiles []profile `json:"profiles"`
}

type profile struct {
	Name     string  `json:"name"`
	Core     outcome `json:"core"`
	Extended outcome `json:"extended"`
}

type outcome struct {
	Result     string `json:"result"`
	Statistics struct {
		Passed, Failed, Skipped int
	} `json:"statistics"`
	SupportedFeatures   []string `json:"supportedFeatures"`
	UnsupportedFeatures []string `json:"unsupportedFeatures"`
}

func readReport(path string) (*report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r report
	if err := yaml.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read report %s: %w", path, err)
	}
	return &r, nil
}

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nGateway API %s, %s channel\n", r.Version, r.Channel)
	fmt.Fprintf(&b, "%-12s %-10s %-8s %-8s %-8s %s\n", "PROFILE", "LEVEL", "PASSED", "FAILED", "SKIPPED", "FEATURES")
	for _, p := range r.Profiles {
		for _, level := range []struct {
			name string
			outcome
		}{{"core", p.Core}, {"extended", p.Extended}} {
			s := level.Statistics
			if level.Result == "" {
				continue
			}
			fmt.Fprintf(&b, "%-12s %-10s %-8d %-8d %-8d %d\n", p.Name, level.name, s.Passed, s.Failed, s.Skipped,
				len(level.SupportedFeatures))
		}
	}
	return b.String()
}

// level is a part of a profile that has to be complete.
type level struct {
	profile, name   string
	tests, features int
}

// levels are what the suite counts for a mesh that supports everything. It also runs tests that need features of no
// such profile, which only results knows.
var levels = []level{{"MESH-HTTP", "core", 7, 0}, {"MESH-HTTP", "extended", 7, 9}, {"MESH-GRPC", "core", 3, 0}}

// checkComplete returns what keeps the report from being complete.
func (r *report) checkComplete(channel string) error {
	var missing []error
	if r.Channel != channel || r.Version != suiteVersion {
		missing = append(missing, fmt.Errorf("the report is about %s of the %s channel", r.Version, r.Channel))
	}
	for _, l := range levels {
		o := r.outcome(l)
		s := o.Statistics
		if o.Result != "success" || s.Passed != l.tests || s.Failed+s.Skipped > 0 ||
			len(o.SupportedFeatures) != l.features || len(o.UnsupportedFeatures) > 0 {
			missing = append(missing, fmt.Errorf("%s %s: %q with %d of %d tests and %d of %d features, unsupported: %q",
				l.profile, l.name, o.Result,
				s.Passed, l.tests, len(o.SupportedFeatures), l.features, o.UnsupportedFeatures))
		}
	}
	return errors.Join(missing...)
}

func (r *report) outcome(l level) outcome {
	for _, p := range r.Profiles {
		if p.Name == l.profile && l.name == "core" {
			return p.Core
		}
		if p.Name == l.profile {
			return p.Extended
		}
	}
	return outcome{}
}
