package main

import (
	"regexp"
	"strings"
)

// The jobs with which Prometheus reads the proxies, and the control plane with the extension. Other jobs may have
// series of the same names: applications choose the names of theirs.
const (
	proxyJob   = `job="linkerd-proxy"`
	controlJob = `job="linkerd-controller"`
)

var (
	// token is a part of a query that holds no metric, or a name; a name's selector belongs to it.
	token = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|\w+ by \([^)]*\)|[a-z]\w*(?:\{[^}]*\}|\()?`)
	// ofControlPlane are the metrics of the control plane; all others are the proxies'.
	ofControlPlane = regexp.MustCompile(`^(tulle_(identity|kube|discovery|destination|inject)|proxy_inject)_`)
	operator       = regexp.MustCompile(`^(and|or|unless)$`)
)

// withJobs makes each selector of a query ask for the job that has the metric, unless it names a job.
func withJobs(expr string) string {
	return token.ReplaceAllStringFunc(expr, func(text string) string {
		name, selector, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
		switch {
		case name == "" || strings.ContainsAny(name, `"[(`), operator.MatchString(name), strings.Contains(selector, "job="):
			return text
		}
		job := proxyJob
		if ofControlPlane.MatchString(name) {
			job = controlJob
		}
		return name + "{" + strings.TrimSuffix(job+", "+selector, ", ") + "}"
	})
}
