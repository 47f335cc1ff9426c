package board

import (
	"context"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// OverviewPage is what the page Overview shows.
type OverviewPage struct {
	Head
	// Namespaces are in the order of their names. It is never null.
	Namespaces []NamespaceRow `json:"namespaces"`
	// Problems are what is wrong now, worst first. It is never null.
	Problems []Problem `json:"problems"`
}

// NamespaceRow is one namespace, as `tulle viz stat ns` has it.
type NamespaceRow struct {
	Name string `json:"name"`
	Golden
	// Meshed are the pods with a proxy, of Pods that have not ended.
	Meshed int `json:"meshed"`
	Pods   int `json:"pods"`
}

// Success rates below which a namespace is a Problem.
const (
	warnBelow  = 0.99
	errorBelow = 0.95
)

// Overview returns the namespaces and what is wrong in them.
func Overview(ctx context.Context, s Sources, q Query) (OverviewPage, error) {
	args := []string{resource.Namespace}
	if q.Namespace != "" {
		args = append(args, q.Namespace)
	}
	targets, err := resource.Parse(args)
	if err != nil {
		return OverviewPage{}, err
	}
	result, err := stat.Rows(ctx, s.Numbers, s.Objects, stat.Request{
		Request: subject.Request{Targets: targets, Window: q.Window}, Unmeshed: true})
	if err != nil {
		return OverviewPage{}, err
	}
	page := OverviewPage{Head: newHead(q, result.Notes), Namespaces: []NamespaceRow{}, Problems: []Problem{}}
	for _, row := range result.Rows {
		page.Namespaces = append(page.Namespaces, NamespaceRow{Name: row.Name, Golden: newGolden(row.Stats),
			Meshed: row.Meshed, Pods: row.Total})
	}
	page.Problems = append(page.Problems, failing(page.Namespaces, q)...)
	return page, nil
}

// failing returns the namespaces whose requests fail, worst first.
func failing(rows []NamespaceRow, q Query) (out []Problem) {
	worst := slices.Clone(rows)
	worst = slices.DeleteFunc(worst, func(r NamespaceRow) bool { return r.Success == nil || *r.Success >= warnBelow })
	slices.SortStableFunc(worst, func(a, b NamespaceRow) int {
		if *a.Success < *b.Success {
			return -1
		}
		return 1
	})
	for _, r := range worst {
		severity := SeverityWarning
		if *r.Success < errorBelow {
			severity = SeverityError
		}
		out = append(out, Problem{Severity: severity, Ref: &Ref{Kind: resource.Namespace, Name: r.Name},
			Text: fmt.Sprintf("%s of the requests to namespace %s succeed, at %s.", golden.Percent(*r.Success), r.Name,
				golden.Rate(r.RPS)),
			Command: fmt.Sprintf("tulle viz stat deploy -n %s -t %s", r.Name, Span(q.Window))})
	}
	return out
}
