package analyze

import (
	"fmt"
	"slices"
	"time"
)

// Input is what Run examines, and which findings it returns.
type Input struct {
	// Live are the objects of the cluster, Files those of files, as if they were applied to it. If there are Files, the
	// cluster is context only: findings are about objects of the files.
	Live, Files []map[string]any
	// Namespace is that of objects that name none. With Only findings of other namespaces are left out.
	Namespace string
	Only      bool
	// Partial says that there may be more objects than these. Then no finding says that one is missing.
	Partial bool
	// Domain is the cluster's; "" if it is not known.
	Domain string
	Now    time.Time
}

// Run returns the findings about the input, the worst first. It is an error if the cluster lacks the namespace that the
// findings are to be about.
func Run(in Input) ([]Finding, error) {
	world := NewWorld(slices.Concat(in.Live, in.Files), in.Namespace)
	world.Partial, world.Now, world.Domain = in.Partial, in.Now, in.Domain
	findings := world.Analyze()
	if len(in.Files) > 0 {
		inFiles := NewWorld(in.Files, in.Namespace)
		findings = slices.DeleteFunc(findings, func(f Finding) bool { return !inFiles.concerns(f) })
	}
	if !in.Only {
		return findings, nil
	}
	findings = slices.DeleteFunc(findings, func(f Finding) bool { return f.Namespace != in.Namespace })
	if len(in.Files) == 0 && len(findings) == 0 && !world.hasNamespace(in.Namespace) {
		return nil, fmt.Errorf("there is no namespace %s; -n names another, -A is for all", in.Namespace)
	}
	return findings, nil
}

// Reach reports whether a finding has the severity or a worse one.
func Reach(findings []Finding, threshold Severity) bool {
	worst := slices.Index(Severities, threshold)
	return slices.ContainsFunc(findings, func(f Finding) bool { return slices.Index(Severities, f.Severity) <= worst })
}
