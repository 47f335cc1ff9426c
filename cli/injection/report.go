package injection

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/convert"
	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// Report is what happened to one object of a manifest.
type Report struct {
	object *manifest.Object
	// outcome is injected, annotated, uninjected or one of the other constants; "" means that the object is of no concern
	// to the command.
	outcome string
	// reason is why a workload was left as it is; "" for other kinds.
	reason inject.Reason
	// udp is set when a container declares a UDP port, which is never captured.
	udp      bool
	warnings []string
}

// Outcomes of objects that stay as they are.
const (
	alreadyInjected  = "already injected"
	alreadyAnnotated = "already annotated"
	notInjected      = "not injected"
)

// examine finds what keeps a pod from being injected, and what its author should know.
func (r *Report) examine(pod *corev1.Pod) {
	asked := inject.Namespace{Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}}
	r.reason = inject.Decide(asked, pod).Reason
	if r.reason == inject.InvalidAtPod {
		r.reason = "" // inject replaces the annotation
	}
	r.udp = slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool {
			return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Protocol == corev1.ProtocolUDP })
		})
}

// line is the report's summary of the object.
func (r *Report) line() string {
	switch {
	case r.object.Kind() == "":
		return `document missing "kind" field, skipped`
	case r.outcome == "":
		return fmt.Sprintf("%s %q skipped", strings.ToLower(r.object.Kind()), r.object.Meta("name"))
	}
	return fmt.Sprintf("%s %q %s", strings.ToLower(r.object.Kind()), r.object.Meta("name"), r.outcome)
}

// WriteReports writes warnings about groups of objects, then one line an object, between blank lines that keep it apart
// from what else a pipeline writes. The texts are Linkerd's.
func WriteReports(w io.Writer, reports []Report, verb string) {
	fmt.Fprintln(w)
	group := func(text string, has func(Report) bool) {
		var names []string
		for _, r := range reports {
			if has(r) {
				names = append(names, r.object.Name())
			}
		}
		if names != nil {
			fmt.Fprintf(w, "‼ "+text+"\n", strings.Join(names, ", "))
		}
	}
	because := func(reason inject.Reason) func(Report) bool {
		return func(r Report) bool { return r.reason == reason }
	}
	if verb == "injected" {
		group(`"hostNetwork: true" detected in %s`, because(inject.HostNetwork))
		group("known 3rd party sidecar detected in %s", because(inject.SidecarExists))
		group(`"linkerd.io/inject: disabled" annotation set on %s`, because(inject.OptedOut))
		group("%s: unsupported operating system", because(inject.Unsupported))
		group(`%s uses "protocol: UDP"`, func(r Report) bool { return r.udp })
	}
	for _, r := range reports {
		for _, warning := range r.warnings {
			fmt.Fprintf(w, "‼ %s: %s\n", r.object.Name(), warning)
		}
	}
	if !slices.ContainsFunc(reports, func(r Report) bool { return r.outcome != "" }) {
		fmt.Fprintln(w, "‼ no supported objects found")
	}
	fmt.Fprintln(w)
	for _, r := range reports {
		fmt.Fprintln(w, r.line())
	}
	fmt.Fprintln(w)
}

// Change applies change to the objects of one document, without what a cluster added to them. It stops at the first
// error.
func Change(objects []*manifest.Object, change func(*manifest.Object) (Report, error)) ([]Report, error) {
	var reports []Report
	for _, o := range objects {
		written := maps.Clone(convert.Written(o.Tree)) // a tree without metadata comes back itself
		clear(o.Tree)
		maps.Copy(o.Tree, written)
		r, err := change(o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}
