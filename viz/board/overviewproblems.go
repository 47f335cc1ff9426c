package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// A success rate under warnBelow is a warning, and one under errorBelow an error. The app marks numbers by the same.
const (
	warnBelow  = 0.99
	errorBelow = 0.95
)

// severity returns how bad a success rate is; "" if it is not bad.
func severity(success float64) string {
	switch {
	case success < errorBelow:
		return SeverityError
	case success < warnBelow:
		return SeverityWarning
	}
	return ""
}

// problems returns what is wrong, errors first.
func (o *overview) problems(page OverviewPage, q Query) []Problem {
	rows := page.Workloads
	if rows == nil {
		rows = page.Namespaces
	}
	out := slices.Concat(failing(rows, q), o.denying(q), o.unmeshed(), o.otherVersions())
	slices.SortStableFunc(out, func(a, b Problem) int { return cmp.Compare(a.Severity, b.Severity) })
	return append([]Problem{}, out...)
}

// failing returns the rows whose requests fail, worst first.
func failing(rows []OverviewRow, q Query) (out []Problem) {
	worst := slices.DeleteFunc(slices.Clone(rows), func(r OverviewRow) bool {
		return r.Success == nil || severity(*r.Success) == ""
	})
	slices.SortStableFunc(worst, func(a, b OverviewRow) int { return cmp.Compare(*a.Success, *b.Success) })
	for _, r := range worst {
		p := Problem{Severity: severity(*r.Success), Ref: &r.Ref, Text: fmt.Sprintf(
			"%s of the requests to %s fail, at %.1f rps.", golden.Percent(1-*r.Success), r.Name, r.RPS),
			Command: fmt.Sprintf("tulle viz stat deploy -n %s -t %s", r.Name, WindowText(q.Window))}
		if r.Kind != resource.Namespace {
			p.Command = fmt.Sprintf("tulle viz stat pods -n %s -t %s", r.Namespace, WindowText(q.Window))
		}
		out = append(out, p)
	}
	return out
}

// denying returns the Servers at which policy denies requests, most denials first.
func (o *overview) denying(q Query) (out []Problem) {
	type place struct{ namespace, server string }
	rates := map[place]float64{}
	for _, row := range o.denials.Rows {
		if row.Denied > 0 {
			rates[place{row.Namespace, row.Server}] += row.Denied
		}
	}
	places := slices.SortedFunc(maps.Keys(rates), func(a, b place) int {
		return cmp.Or(cmp.Compare(rates[b], rates[a]), cmp.Compare(a.namespace, b.namespace),
			cmp.Compare(a.server, b.server))
	})
	for _, at := range places {
		where := fmt.Sprintf("at Server %s in namespace %s", at.server, at.namespace)
		if policy, ok := strings.CutPrefix(at.server, "default:"); ok {
			where = fmt.Sprintf("in namespace %s, at ports without a Server, whose default is %s", at.namespace, policy)
		}
		out = append(out, Problem{Severity: SeverityWarning, Ref: namespaceRef(at.namespace),
			Page: "policies", Text: fmt.Sprintf("Policy denies %.1f rps %s.", rates[at], where),
			Command: fmt.Sprintf("tulle viz authz ns/%s -t %s", at.namespace, WindowText(q.Window))})
	}
	return out
}

// unmeshed returns the namespaces with pods that should have a proxy, by their annotations, and have none.
func (o *overview) unmeshed() (out []Problem) {
	for _, ns := range o.objects {
		n := count(ns.Pods, func(p resource.Pod) bool {
			inject := cmp.Or(p.Inject, ns.Inject)
			return !p.Meshed && (inject == "enabled" || inject == "ingress")
		})
		if n > 0 {
			out = append(out, Problem{Severity: SeverityWarning, Ref: namespaceRef(ns.Name),
				Text: fmt.Sprintf("%s in namespace %s should have a proxy and %s none.", pods(n), ns.Name,
					map[bool]string{true: "has", false: "have"}[n == 1]),
				Command: "tulle viz list -n " + ns.Name})
		}
	}
	return out
}

// otherVersions returns the namespaces with proxies whose version differs from that of the control plane.
func (o *overview) otherVersions() (out []Problem) {
	if o.version == "" {
		return nil
	}
	for _, ns := range o.objects {
		n := count(ns.Pods, func(p resource.Pod) bool { return p.Meshed && p.Version != o.version })
		if n > 0 {
			out = append(out, Problem{Severity: SeverityWarning, Ref: namespaceRef(ns.Name),
				Text: fmt.Sprintf("%s in namespace %s: the proxy version differs from the control plane's, %s.", pods(n),
					ns.Name, o.version),
				Command: fmt.Sprintf("tulle viz stat pods -n %s --proxy-version-mismatch", ns.Name)})
		}
	}
	return out
}

func namespaceRef(name string) *Ref { return &Ref{Kind: resource.Namespace, Name: name} }

// count returns the number of pods that match, without those that have ended.
func count(pods []resource.Pod, matches func(resource.Pod) bool) (n int) {
	for _, p := range pods {
		if !p.Finished && matches(p) {
			n++
		}
	}
	return n
}

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// controlVersion returns the version of the control plane: "" while a rollout runs, or if there is no control plane.
// Without a client it is the program's.
func controlVersion(ctx context.Context, s Sources) (string, error) {
	if s.Client == nil {
		return s.Version, nil
	}
	versions, err := cluster.Versions(ctx, s.Client, s.ControlNamespace, mesh.ControlPlaneComponentLabel,
		func(m metav1.ObjectMeta) string { return m.Labels[mesh.VersionLabel] })
	if err != nil || len(versions) != 1 {
		return "", err
	}
	return slices.Collect(maps.Keys(versions))[0], nil
}
