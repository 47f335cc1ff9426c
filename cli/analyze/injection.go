package analyze

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/spelling"
	"github.com/tulle-mesh/tulle/mesh"
)

// checkInjection finds pods without a proxy in namespaces that ask for one.
func checkInjection(w *World) {
	w.each("Pod", func(o *object) {
		ns := w.byName[name{"Namespace", "", o.namespace}]
		if ns == nil || injected(o) {
			return
		}
		var pod corev1.Pod
		decode(o.tree, &pod)
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			return
		}
		decision := inject.Decide(inject.Namespace{Name: ns.name.name, Annotations: ns.annotations, Labels: ns.labels}, &pod)
		if decision.Action == inject.Inject {
			next := "restart its workload"
			if maker := w.maker(o); maker != nil && maker.kind == "CronJob" {
				next = "that of the next run of CronJob " + maker.name.name + " will have one"
			} else if maker != nil {
				next = "restart " + maker.kind + " " + maker.name.name
			}
			w.report(Warning, "NotInjected", o, "the namespace asks for a proxy and the pod has none: it was created before; %s",
				next)
		}
	})
}

// checkPodSecurity finds namespaces whose Pod Security level forbids tulle-init, which needs NET_ADMIN to capture
// traffic: the API server refuses every new pod with a proxy. Source: Kubernetes Pod Security Standards.
func checkPodSecurity(w *World) {
	const label = "pod-security.kubernetes.io/enforce"
	w.each("Namespace", func(ns *object) {
		level := ns.labels[label]
		if level != "baseline" && level != "restricted" {
			return
		}
		decides := inject.Namespace{Name: ns.name.name, Annotations: ns.annotations, Labels: ns.labels}
		report := func(o *object, whose string) {
			w.report(Warning, "PodSecurity", o,
				"label %s=%s of the namespace forbids NET_ADMIN, which %s needs to capture traffic: the API server "+
					"refuses %s that get a proxy, unless they are exempt; set the label to privileged "+
					"(docs/injection.md#what-a-pod-gets)", label, level, mesh.InitContainer, whose)
		}
		if inject.Decide(decides, &corev1.Pod{}).Action == inject.Inject {
			report(ns, "pods")
			return
		}
		for _, o := range w.objects {
			if !o.workload || o.namespace != ns.name.name || w.maker(o) != nil {
				continue
			}
			pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: templateOf(o).annotations}, Spec: podSpecOf(o)}
			if inject.Decide(decides, &pod).Action == inject.Inject {
				report(o, "its pods")
			}
		}
	})
}

// checkAnnotations finds annotations that the injector would refuse, or warn of.
func checkAnnotations(w *World) {
	for _, o := range w.objects {
		annotations, labels, at := o.annotations, o.labels, "metadata"
		switch {
		case w.maker(o) != nil:
			continue // the finding is the workload's, once
		case o.workload:
			t := templateOf(o)
			annotations, labels, at = t.annotations, t.labels, t.path
		}
		w.checkLabels(o, labels, at)
		switch value, ok := annotations[mesh.InjectAnnotation]; {
		case ok && value != "enabled" && value != "disabled" && value != "ingress":
			w.report(Error, "AnnotationValue", o, "annotation %s is %q: want enabled, ingress or disabled",
				mesh.InjectAnnotation, value)
		}
		if o.kind == "Service" || o.kind == "HTTPRoute" || o.kind == "GRPCRoute" {
			checkTuning(w, o)
		}
		if o.kind == "Service" {
			var svc corev1.Service
			decode(o.tree, &svc)
			if err := inject.CheckService(&svc); err != nil {
				w.report(Error, "AnnotationValue", o, "%v", err)
			}
			for _, warning := range inject.CheckServiceKeys(svc.Annotations) {
				w.report(Warning, "AnnotationUnknown", o, "%s", warning)
			}
			continue
		}
		namespace, pod := map[string]string(nil), annotations
		if o.kind == "Namespace" {
			namespace, pod = annotations, nil
		}
		settings, err := inject.ParseSettings(inject.Defaults(), namespace, pod)
		if err == nil && (o.kind == "Pod" || o.workload) {
			_, err = inject.PodPorts(&corev1.Pod{Spec: podSpecOf(o)}).Opaque(annotations)
		}
		if err != nil {
			w.report(Error, "AnnotationValue", o, "%v", err)
		}
		for _, warning := range settings.Warnings {
			w.report(Warning, "AnnotationUnknown", o, "%s", warning)
		}
	}
}

// checkMandatory finds namespaces whose administrator means to make injection mandatory, and does not.
func checkMandatory(w *World) {
	const want = mesh.EnforceLabel + "=" + mesh.EnforceRequired
	w.each("Namespace", func(ns *object) {
		if value, ok := ns.labels[mesh.EnforceLabel]; ok && value != mesh.EnforceRequired {
			w.report(Error, "LabelValue", ns, "label %s is %q: want %s; injection is not mandatory in this namespace",
				mesh.EnforceLabel, value, mesh.EnforceRequired)
		}
		for _, key := range slices.Sorted(maps.Keys(ns.labels)) {
			if key != mesh.EnforceLabel && meansEnforce(key) {
				w.report(Error, "LabelUnknown", ns, "label %s is unknown and has no effect; did you mean %s?", key, want)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(ns.annotations)) {
			if meansEnforce(key) {
				w.report(Error, "LabelPlace", ns, "annotation %s has no effect: write label %s at metadata.labels", key, want)
			}
		}
	})
}

// meansEnforce reports whether a key of a namespace is mesh.EnforceLabel, perhaps with a typo or cut short.
func meansEnforce(key string) bool {
	const longest = len(mesh.EnforceLabel) + 3 // others cannot be near
	return strings.HasPrefix(key, "tulle.dev/inj") || len(key) <= longest && spelling.Distance(key, mesh.EnforceLabel) <= 3
}

// checkLabels finds annotations about injection that were written as labels, where nobody reads them.
func (w *World) checkLabels(o *object, labels map[string]string, at string) {
	if o.kind != "Namespace" && o.kind != "Pod" && o.kind != "Service" && !o.workload {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if right, about := inject.Meant(key); about && key != admissionLabel {
			w.report(Warning, "AnnotationPlace", o, "label %s at %s.labels has no effect: write annotation %s at %s.annotations",
				key, at, cmp.Or(right, key), at)
		}
	}
}

// admissionLabel is a label that begins as annotations do: it keeps the injector away from a namespace.
const admissionLabel = mesh.ConfigPrefix + "admission-webhooks"

// checkTuning finds annotations about retries, timeouts, circuit breaking and faults that the controller would not
// accept.
func checkTuning(w *World, o *object) {
	for _, p := range compile.CheckAnnotations(&metav1.ObjectMeta{Annotations: o.annotations}, o.kind == "Service",
		w.Now) {
		if p.Reason == compile.ReasonUnknownAnnotation {
			w.report(Warning, "AnnotationUnknown", o, "%s", p)
		} else {
			w.report(Error, "AnnotationValue", o, "%s", p)
		}
	}
}
