// Package injection gives the workloads of a manifest their proxy, and takes it away.
//
// It owns what tulle inject and tulle uninject change, and the report of it. What a proxy looks like is decided by
// injector/inject. The one idea: an object is changed in the form it was written, so that fields which this build does
// not know stay.
package injection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// Injection says how the objects of a manifest get a proxy.
type Injection struct {
	// Manual writes the proxy's containers, instead of the annotation that asks the injector for them.
	Manual bool
	// Ingress writes the annotation's value ingress instead of enabled.
	Ingress bool
	// Annotations configure the proxy.
	Annotations map[string]string
	// Defaults are what the installation gives to every proxy.
	Defaults inject.Values
	// Namespace is that of objects that name none; it may be "".
	Namespace string
}

// Check returns an error that names an annotation with a value that is not accepted.
func (t Injection) Check() error {
	_, err := t.settings(nil)
	return err
}

// Object adds the proxy to o, or the annotation, and reports what it did.
func (t Injection) Object(o *manifest.Object) (Report, error) {
	r := Report{object: o}
	switch o.Kind() {
	case "":
		return r, nil
	case "Namespace":
		return t.annotateNamespace(o, r)
	case "Service":
		return t.annotateService(o, r)
	}
	template, ok, err := o.Template()
	if !ok {
		return r, err
	}
	if template.Path != "" {
		r.warnings = inject.CheckWorkloadKeys(o.Kind(), template.Path+".metadata", o.Annotations(), template.Pod.Annotations)
	}
	r.examine(&template.Pod)
	if r.reason == inject.SidecarExists && hasProxy(&template.Pod) {
		r.outcome, r.reason = alreadyInjected, ""
		return r, nil
	}
	if r.reason != "" {
		return r, nil
	}
	asked := maps.Clone(template.Pod.Annotations)
	if asked == nil {
		asked = map[string]string{}
	}
	maps.Copy(asked, t.Annotations)
	if _, err := inject.PodPorts(&template.Pod).Opaque(asked); err != nil { // the webhook would refuse every pod
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.outcome = "injected"
	if t.Manual {
		return t.addProxy(o, template, r)
	}
	annotations, ok := manifest.Nested(template.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	settings, err := t.settings(template.Pod.Annotations)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.warnings = append(r.warnings, settings.Warnings...)
	if !t.annotate(annotations) {
		r.outcome = alreadyInjected
	}
	return r, nil
}

// hasProxy reports whether the mesh's own proxy is among the containers.
func hasProxy(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return c.Name == mesh.ProxyContainer
	})
}

// mode is the value of the inject annotation.
func (t Injection) mode() string {
	if t.Ingress {
		return "ingress"
	}
	return "enabled"
}

// annotate asks for a proxy and reports whether the annotations did not say all of it before.
func (t Injection) annotate(annotations map[string]any) (changed bool) {
	set := func(key, value string) {
		changed = changed || annotations[key] != value
		annotations[key] = value
	}
	if t.Ingress || annotations[mesh.InjectAnnotation] != "ingress" {
		set(mesh.InjectAnnotation, t.mode())
	}
	for k, v := range t.Annotations {
		set(k, v)
	}
	return changed
}

// annotateNamespace asks for a proxy in every pod of the namespace. An annotation that the injector would not accept is
// a warning: its author may not be the one who injects.
func (t Injection) annotateNamespace(o *manifest.Object, r Report) (Report, error) {
	settings, err := inject.ParseSettings(inject.Defaults(), o.Annotations(), nil)
	if r.warnings = settings.Warnings; err != nil {
		r.warnings = append(r.warnings, err.Error())
	}
	annotations, ok := manifest.Nested(o.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	r.outcome = alreadyAnnotated
	if t.annotate(annotations) {
		r.outcome = "annotated"
	}
	return r, nil
}

// annotateService marks opaque ports; nothing else of a proxy's settings concerns a Service.
func (t Injection) annotateService(o *manifest.Object, r Report) (Report, error) {
	r.warnings = inject.CheckServiceKeys(o.Annotations())
	ports, asked := t.Annotations[mesh.OpaquePortsAnnotation]
	if !asked {
		return r, nil
	}
	annotations, ok := manifest.Nested(o.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	var svc corev1.Service
	if data, err := json.Marshal(o.Tree["spec"]); err != nil {
		return r, fmt.Errorf("encode %s: %w", o.Name(), err)
	} else if err := json.Unmarshal(data, &svc.Spec); err != nil {
		return r, o.Mismatch("spec", err)
	}
	if _, err := inject.ServicePorts(&svc).Opaque(t.Annotations); err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.outcome = alreadyAnnotated
	if annotations[mesh.OpaquePortsAnnotation] != ports {
		annotations[mesh.OpaquePortsAnnotation], r.outcome = ports, "annotated"
	}
	return r, nil
}

// settings returns what holds for a pod with these annotations and the flags, which win. What the flags ask for has the
// rank of a namespace's annotation under --manual: nobody else has to allow it.
func (t Injection) settings(pod map[string]string) (inject.Settings, error) {
	if t.Manual {
		return inject.ParseSettings(t.Defaults, t.Annotations, withoutKeys(pod, t.Annotations))
	}
	merged := maps.Clone(pod)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, t.Annotations)
	return inject.ParseSettings(t.Defaults, nil, merged)
}

func withoutKeys(m, drop map[string]string) map[string]string {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(k, _ string) bool { _, ok := drop[k]; return ok })
	return m
}

// addProxy writes what the webhook would add to the pod. The change is a patch, so that fields this build does not know
// stay.
func (t Injection) addProxy(o *manifest.Object, tmpl manifest.Template, r Report) (Report, error) {
	settings, err := t.settings(tmpl.Pod.Annotations)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	ns := inject.Namespace{Name: t.namespaceOf(o), Annotations: map[string]string{mesh.InjectAnnotation: t.mode()}}
	decision := inject.Decide(ns, &tmpl.Pod)
	if decision.Action != inject.Inject {
		r.outcome, r.reason = "", decision.Reason
		return r, nil
	}
	owner := inject.Owner{Kind: o.Kind(), Name: o.Meta("name")}
	if owner.Kind == "Pod" {
		owner = inject.Owner{}
	}
	meshed, warnings, err := inject.Apply(&tmpl.Pod, settings, decision, ns.Name, owner)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.warnings = append(r.warnings, slices.Concat(settings.Warnings, warnings)...)
	return r, patchTemplate(tmpl.Tree, &tmpl.Pod, meshed)
}

// namespaceOf returns the namespace that the object will be in, as far as it is known.
func (t Injection) namespaceOf(o *manifest.Object) string {
	switch {
	case t.Namespace != "":
		return t.Namespace
	case o.Meta("namespace") != "":
		return o.Meta("namespace")
	}
	return metav1.NamespaceDefault
}

// patchTemplate applies the difference of two pods to the tree that the first was read from.
func patchTemplate(tree map[string]any, before, after *corev1.Pod) error {
	ops, err := inject.Patch(before, after)
	if err != nil || ops == nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		return fmt.Errorf("decode patch: %w", err)
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode template: %w", err)
	}
	if data, err = patch.Apply(data); err != nil {
		return fmt.Errorf("apply patch: %w", err)
	}
	var changed map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&changed); err != nil {
		return fmt.Errorf("decode template: %w", err)
	}
	clear(tree)
	maps.Copy(tree, changed)
	return nil
}
