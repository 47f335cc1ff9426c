package analyze

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tulle-mesh/tulle/injector/inject"
)

// template is what the checks look at of a pod template, and where it is.
type template struct {
	path                string // of its metadata
	labels, annotations map[string]string
}

func templateOf(o *object) template {
	type pods struct {
		Template struct {
			Metadata struct{ Labels, Annotations map[string]string }
		}
	}
	if o.kind == "CronJob" {
		s := spec[struct{ JobTemplate struct{ Spec pods } }](o).JobTemplate.Spec.Template.Metadata
		return template{"spec.jobTemplate.spec.template.metadata", s.Labels, s.Annotations}
	}
	s := spec[pods](o).Template.Metadata
	return template{"spec.template.metadata", s.Labels, s.Annotations}
}

// podSpecOf returns what the pods of a workload, or a pod itself, are made of.
func podSpecOf(o *object) corev1.PodSpec {
	type pods struct {
		Template struct{ Spec corev1.PodSpec }
	}
	switch o.kind {
	case "Pod":
		return spec[corev1.PodSpec](o)
	case "CronJob":
		return spec[struct{ JobTemplate struct{ Spec pods } }](o).JobTemplate.Spec.Template.Spec
	default:
		return spec[pods](o).Template.Spec
	}
}

// checkPlaces finds annotations about the proxy at a workload itself, where nobody reads them.
func checkPlaces(w *World) {
	for _, o := range w.objects {
		if !o.workload || w.maker(o) != nil {
			continue
		}
		at := templateOf(o)
		for _, warning := range inject.CheckWorkloadKeys(o.kind, at.path, o.annotations, at.annotations) {
			w.report(Warning, "AnnotationPlace", o, "%s", warning)
		}
	}
}

// maker returns the workload among the objects that made the object, of those between them the one that a person wrote;
// nil if there is none. ReplicaSets, and Jobs of a CronJob, carry the name of what made them.
func (w *World) maker(o *object) *object {
	meta, _ := o.tree["metadata"].(map[string]any)
	var head struct{ OwnerReferences []metav1.OwnerReference }
	decode(meta, &head)
	for _, owner := range head.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller {
			continue
		}
		switch owner.Kind {
		case "ReplicaSet":
			if made := w.byName[name{"Deployment", o.namespace,
				strings.TrimSuffix(owner.Name, "-"+o.labels["pod-template-hash"])}]; made != nil {
				return made
			}
		case "Job":
			if i := strings.LastIndexByte(owner.Name, '-'); i > 0 {
				if made := w.byName[name{"CronJob", o.namespace, owner.Name[:i]}]; made != nil {
					return made
				}
			}
		}
		if made := w.byName[name{owner.Kind, o.namespace, owner.Name}]; made != nil && made.workload {
			return made
		}
	}
	return nil
}

// promised reports whether a workload of the namespace makes pods that the selector means, when it is not scaled to
// none.
func (w *World) promised(namespace string, s *metav1.LabelSelector) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && slices.ContainsFunc(w.objects, func(o *object) bool {
		return o.namespace == namespace && o.workload && selector.Matches(labels.Set(templateOf(o).labels))
	})
}
