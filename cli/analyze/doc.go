// Package analyze finds what is valid and yet does not do what its author meant: a profile where it has no effect, a
// policy that lets everybody in, a pod that got no proxy.
//
// It owns the findings. What an object means is decided by controller/model, whose outcomes are findings here; the
// other checks add what a status cannot say, because it is about files, about pods that do not exist yet, or about what
// the author most likely meant. It reads objects and nothing else, so the same code looks at files and at a cluster.
// The one idea: a check is a function over all objects.
package analyze

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/controller/kinds"
)

// Severity says how sure it is that something is wrong.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // has no effect, or not the one that it says
	Warning Severity = "warning" // most likely not what was meant
	Info    Severity = "info"    // worth knowing
)

// Severities is all of them, the worst first.
var Severities = []Severity{Error, Warning, Info}

// Finding is one remark about one object.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code names the check, such as ServiceMissing.
	Code string `json:"code"`
	// Object is kind/name. Namespace is that of the object, or the one that it is.
	Namespace string `json:"namespace,omitempty"`
	Object    string `json:"object"`
	Message   string `json:"message"`
}

// World is what the checks look at.
type World struct {
	objects []*object
	byName  map[name]*object
	// Now decides whether an injected fault has ended.
	Now time.Time
	// Partial says that there may be more objects than these. Then no finding says that one is missing.
	Partial bool
	// Domain is the cluster's; "" if it is not known.
	Domain     string
	findings   []Finding
	superseded []*object // Servers that others take the place of
}

// name is the key of an object; groups are not told apart but for routes, whose kind is all that counts.
type name struct{ kind, namespace, name string }

// object is one Kubernetes object, decoded as far as the checks need.
type object struct {
	name
	group       string
	annotations map[string]string
	labels      map[string]string
	created     string
	workload    bool // it makes pods of a template
	tree        map[string]any
}

// NewWorld returns a world of decoded manifests. Objects without a namespace are in defaultNamespace; where an object
// is there twice the last one counts, as it does when they are applied.
func NewWorld(trees []map[string]any, defaultNamespace string) *World {
	w := &World{byName: map[name]*object{}}
	for _, tree := range trees {
		if ending(tree) {
			continue
		}
		o := newObject(tree, defaultNamespace)
		if earlier := w.byName[o.name]; earlier != nil && earlier.group == o.group {
			*earlier = *o
			continue
		}
		w.byName[o.name] = o
		w.objects = append(w.objects, o)
	}
	return w
}

// ending reports whether a pod is on its way out: what is said of it concerns the one that takes its place.
func ending(tree map[string]any) bool {
	meta, _ := tree["metadata"].(map[string]any)
	return tree["kind"] == "Pod" && meta["deletionTimestamp"] != nil
}

// hasNamespace reports whether the Namespace itself is among the objects.
func (w *World) hasNamespace(n string) bool { return w.byName[name{"Namespace", "", n}] != nil }

// concerns reports whether a finding, of this or of a larger world, is about one of the objects.
func (w *World) concerns(f Finding) bool {
	return slices.ContainsFunc(w.objects,
		func(o *object) bool { return f.Namespace == o.home() && f.Object == o.kind+"/"+o.name.name })
}

// home returns the namespace of findings about an object: the object's own, or the one that it is.
func (o *object) home() string {
	if o.kind == "Namespace" {
		return o.name.name
	}
	return o.namespace
}

func newObject(tree map[string]any, defaultNamespace string) *object {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name, Namespace     string
			Annotations, Labels map[string]string
			CreationTimestamp   string
		} `json:"metadata"`
	}
	decode(tree, &head)
	group, _, grouped := strings.Cut(head.APIVersion, "/")
	if !grouped {
		group = ""
	}
	o := &object{
		name: name{head.Kind, head.Metadata.Namespace, head.Metadata.Name}, group: group, tree: tree,
		annotations: head.Metadata.Annotations, labels: head.Metadata.Labels, created: head.Metadata.CreationTimestamp,
	}
	o.workload = slices.ContainsFunc(kinds.Workloads(), func(k kinds.Kind) bool { return k.Name == o.kind })
	if o.namespace == "" && o.kind != "Namespace" {
		o.namespace = defaultNamespace
	}
	return o
}

// decode reads what fits of a tree into v; the API server, not a check, says what does not.
func decode(tree any, v any) {
	data, err := json.Marshal(tree)
	if err == nil {
		_ = json.Unmarshal(data, v)
	}
}

// spec decodes an object's spec.
func spec[T any](o *object) T {
	var v T
	decode(o.tree["spec"], &v)
	return v
}

// Analyze runs every check and returns what they found, the worst first.
func (w *World) Analyze() []Finding {
	return w.run(checkOutcomes, checkProfiles, checkConsumers, checkServers, checkGuards, checkProbes, checkPermissive,
		checkCallers, checkInjection, checkPodSecurity, checkMandatory, checkAnnotations, checkPlaces, checkFields)
}

// Probes returns what Analyze finds about requests of the kubelet, and runs no other check.
func (w *World) Probes() []Finding { return w.run(checkProbes) }

// run runs the checks in their order: some read what earlier ones note.
func (w *World) run(checks ...func(*World)) []Finding {
	w.findings, w.superseded = nil, nil
	for _, check := range checks {
		check(w)
	}
	slices.SortStableFunc(w.findings, func(a, b Finding) int {
		return cmp.Or(slices.Index(Severities, a.Severity)-slices.Index(Severities, b.Severity),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Object, b.Object))
	})
	return w.findings
}

func (w *World) report(s Severity, code string, o *object, format string, args ...any) {
	w.findings = append(w.findings, Finding{
		Severity: s, Code: code, Namespace: o.home(), Object: o.kind + "/" +
			o.name.name, Message: fmt.Sprintf(format, args...),
	})
}

// each calls fn for every object of a kind.
func (w *World) each(kind string, fn func(*object)) {
	for _, o := range w.objects {
		if o.kind == kind {
			fn(o)
		}
	}
}

// missing reports whether there certainly is no such object.
func (w *World) missing(kind, namespace, n string) bool {
	return !w.Partial && w.byName[name{kind, namespace, n}] == nil
}
