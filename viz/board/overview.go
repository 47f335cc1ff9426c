package board

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/parts"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// OverviewPage is what the page Overview shows.
type OverviewPage struct {
	Head
	// Namespaces are those of the link, worst first. It is never null.
	Namespaces []OverviewRow `json:"namespaces"`
	// Workloads are those of the link's namespace, worst first; null for every namespace.
	Workloads []OverviewRow `json:"workloads"`
	// Problems are what is wrong now, worst first. It is never null.
	Problems []Problem `json:"problems"`
}

// OverviewRow is a namespace or a workload, as `tulle viz stat` has it.
type OverviewRow struct {
	Ref
	Golden
	// State is the severity of its worst Problem, or one of the states below.
	State string `json:"state"`
	// Meshed counts the pods with a proxy, and Pods all pods that have not ended.
	Meshed int `json:"meshed"`
	Pods   int `json:"pods"`
	// Open are the connections that are open now; nil if none is known.
	Open *uint64 `json:"open"`
	// Denied is the HTTP requests per second that policy denied, as in `tulle viz authz`; nil for workloads.
	Denied *float64 `json:"denied"`
}

// The states of an OverviewRow without a Problem. StateQuiet is a meshed object without traffic, which is not wrong.
const (
	StateOK       = "ok"
	StateQuiet    = "quiet"
	StateUnmeshed = "unmeshed"
)

var statesWorstFirst = []string{SeverityError, SeverityWarning, StateOK, StateQuiet, StateUnmeshed}

// overview is what Overview reads. Each field has a question of its own.
type overview struct {
	namespaces, workloads stat.Result
	denials               authz.Result
	objects               []resource.Object // the namespaces
	version               string            // the control plane's
	notes                 []string          // about what the viewer may not read
}

// Overview returns the namespaces and what is wrong in them; for one namespace also its workloads.
func Overview(ctx context.Context, s Sources, q Query) (OverviewPage, error) {
	o, err := readOverview(ctx, s, q)
	if err != nil {
		return OverviewPage{}, err
	}
	page := OverviewPage{Namespaces: []OverviewRow{}}
	for _, row := range o.namespaces.Rows {
		page.Namespaces = append(page.Namespaces, newOverviewRow(row))
	}
	if q.Namespace != "" {
		page.Workloads = []OverviewRow{}
		for _, row := range o.workloads.Rows {
			page.Workloads = append(page.Workloads, newOverviewRow(row))
		}
	}
	page.Problems = o.problems(page, q)
	for i := range page.Namespaces {
		page.Namespaces[i].Denied = o.denied(page.Namespaces[i].Name)
	}
	for _, rows := range [][]OverviewRow{page.Namespaces, page.Workloads} {
		evaluate(rows, page.Problems)
	}
	notes := slices.Concat(o.notes, o.namespaces.Notes, o.workloads.Notes, o.denials.Notes)
	slices.Sort(notes)
	page.Head = newHead(q, slices.Compact(notes))
	return page, nil
}

// readOverview asks its questions concurrently, because a source that reads the proxies takes the window for each. If
// the viewer may not list namespaces, a page about one namespace has only the workloads.
func readOverview(ctx context.Context, s Sources, q Query) (*overview, error) {
	o := &overview{}
	of := subject.Request{Window: q.Window}
	args := []string{resource.Namespace}
	if q.Namespace != "" {
		args = append(args, q.Namespace)
	}
	var err error
	if of.Targets, err = resource.Parse(args); err != nil {
		return nil, err
	}
	var errs [4]error
	var questions parts.Group
	questions.Go(func() {
		o.namespaces, errs[0] = stat.Rows(ctx, s.Numbers, s.Objects, stat.Request{Request: of, Unmeshed: true})
	})
	questions.Go(func() {
		o.denials, errs[1] = authz.Rows(ctx, s.Numbers, s.Objects, of, func(string, string) *mesh.Inbound { return nil })
	})
	questions.Go(func() { o.objects, errs[2] = s.Objects.List(ctx, of.Targets[0].Kind, q.Namespace, "") })
	if q.Namespace != "" {
		questions.Go(func() { o.workloads, errs[3] = workloadsOf(ctx, s, q) })
	}
	questions.Wait()
	if apierrors.IsForbidden(errs[0]) && errs[3] == nil && len(o.workloads.Rows) > 0 {
		o.notes = append(o.notes, errs[0].Error()+". The page has no numbers of the whole namespace.")
		errs[0], errs[1], errs[2] = nil, nil, nil
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	o.readVersion(ctx, s)
	return o, nil
}

// workloadsOf returns the rows of the workloads of the link's namespace.
func workloadsOf(ctx context.Context, s Sources, q Query) (stat.Result, error) {
	of := subject.Request{Namespace: q.Namespace, Window: q.Window}
	for _, name := range listedWorkloads {
		kind, err := resource.ParseKind(name)
		if err != nil {
			return stat.Result{}, err
		}
		of.Targets = append(of.Targets, resource.Target{Kind: kind})
	}
	return stat.Rows(ctx, s.Numbers, s.Objects, stat.Request{Request: of, Unmeshed: true})
}

func newOverviewRow(row stat.Row) OverviewRow {
	out := OverviewRow{Ref: Ref{Kind: row.Kind.Name, Namespace: row.Namespace, Name: row.Name},
		Golden: newGolden(row.Stats), Meshed: row.Meshed, Pods: row.Total}
	if row.TCP != nil {
		out.Open = &row.TCP.Open
	}
	return out
}

// denied returns the rate of denials in a namespace.
func (o *overview) denied(namespace string) *float64 {
	rate := 0.0
	for _, row := range o.denials.Rows {
		if row.Namespace == namespace {
			rate += row.Denied
		}
	}
	return &rate
}

// evaluate gives the rows their states, and sorts them: worst first, those that are equally bad by success and name.
func evaluate(rows []OverviewRow, problems []Problem) {
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Success != nil:
			r.State = cmp.Or(severity(*r.Success), StateOK)
		case r.Meshed > 0:
			r.State = StateQuiet
		default:
			r.State = StateUnmeshed
		}
		for _, p := range slices.Backward(problems) { // the worst one last
			if p.Ref != nil && *p.Ref == r.Ref {
				r.State = p.Severity
			}
		}
	}
	success := func(r OverviewRow) float64 {
		if r.Success == nil || r.State == StateOK { // rows of a mesh that is well keep their places
			return 1
		}
		return *r.Success
	}
	slices.SortFunc(rows, func(a, b OverviewRow) int {
		return cmp.Or(cmp.Compare(slices.Index(statesWorstFirst, a.State), slices.Index(statesWorstFirst, b.State)),
			cmp.Compare(success(a), success(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}

// readVersion reads the control plane's version, with which the proxies' are compared. A viewer who may not read the
// control plane's pods gets a note.
func (o *overview) readVersion(ctx context.Context, s Sources) {
	var err error
	if o.version, err = controlVersion(ctx, s); err != nil {
		o.notes = append(o.notes, fmt.Sprintf("The versions of proxies are not compared: %v.", err))
	}
}
