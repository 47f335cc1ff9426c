package injection

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Remove takes out of o what injection put in, by its annotation or by hand.
func Remove(o *manifest.Object) (Report, error) {
	r := Report{object: o}
	if o.Kind() == "Namespace" {
		r.outcome = notInjected
		if stripMeta(o.Tree) {
			r.outcome = "uninjected"
		}
		return r, nil
	}
	tmpl, ok, err := o.Template()
	if !ok {
		return r, err
	}
	if _, own := tmpl.Pod.Labels[mesh.ControlPlaneComponentLabel]; own {
		return r, nil
	}
	before := tmpl.Pod.DeepCopy()
	changed := stripPod(&tmpl.Pod.Spec)
	if changed {
		if err := patchTemplate(tmpl.Tree, before, &tmpl.Pod); err != nil {
			return r, err
		}
	}
	r.outcome = notInjected
	if stripMeta(tmpl.Tree) || changed {
		r.outcome = "uninjected"
	}
	return r, nil
}

// stripPod removes the proxy's containers and the volumes that only they mount, and reports whether there were any.
func stripPod(spec *corev1.PodSpec) bool {
	mounted := map[string]bool{}
	own := func(c corev1.Container) bool {
		if c.Name != mesh.ProxyContainer && c.Name != mesh.InitContainer {
			return false
		}
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
		return true
	}
	before := len(spec.InitContainers) + len(spec.Containers)
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, own)
	spec.Containers = slices.DeleteFunc(spec.Containers, own)
	if before == len(spec.InitContainers)+len(spec.Containers) {
		return false
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, m := range c.VolumeMounts {
			delete(mounted, m.Name)
		}
	}
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool { return mounted[v.Name] })
	return true
}

// stripMeta removes the annotations and labels below linkerd.io/ from an object's metadata, and reports whether there
// were any.
func stripMeta(tree map[string]any) bool {
	changed := false
	for _, kind := range []string{"annotations", "labels"} {
		meta, ok := manifest.Nested(tree, "metadata")
		if !ok {
			return changed
		}
		set, ok := meta[kind].(map[string]any)
		if !ok {
			continue
		}
		before := len(set)
		maps.DeleteFunc(set, func(key string, value any) bool {
			return strings.HasPrefix(key, "linkerd.io/") && (key != mesh.InjectAnnotation || value != "disabled")
		})
		changed = changed || len(set) != before
		if len(set) == 0 {
			delete(meta, kind)
		}
	}
	return changed
}
