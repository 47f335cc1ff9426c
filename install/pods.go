package install

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/injector/inject"
)

// PodSettings are what values say about all pods of an installation.
type PodSettings struct {
	Labels, Annotations, NodeSelector map[string]string
	Tolerations                       []Toleration
	ImagePullSecrets                  []LocalObjectID
}

// Check returns an error for each label, annotation or name that the API server would refuse, or that would override
// the manifests.
func (p PodSettings) Check() error {
	var errs []error
	report := func(key, value string, problems []string) {
		if len(problems) > 0 {
			errs = append(errs, fmt.Errorf("%s %q: %s", key, value, strings.Join(problems, "; ")))
		}
	}
	for _, set := range []struct {
		key    string
		values map[string]string
	}{{"podLabels", p.Labels}, {"podAnnotations", p.Annotations}, {"nodeSelector", p.NodeSelector}} {
		for _, k := range slices.Sorted(maps.Keys(set.values)) {
			report(set.key, k, validation.IsQualifiedName(k))
			if set.key != "podAnnotations" {
				report(set.key+"."+k, set.values[k], validation.IsValidLabelValue(set.values[k]))
			}
			if set.key != "nodeSelector" && reserved(k) {
				errs = append(errs, fmt.Errorf("%s %q: the manifests set this themselves", set.key, k))
			}
		}
	}
	for i, s := range p.ImagePullSecrets {
		report(fmt.Sprintf("imagePullSecrets[%d].name", i), s.Name, validation.IsDNS1123Subdomain(s.Name))
	}
	for i, t := range p.Tolerations {
		if t.Key != "" {
			report(fmt.Sprintf("tolerations[%d].key", i), t.Key, validation.IsQualifiedName(t.Key))
		}
	}
	return errors.Join(errs...)
}

// reserved reports whether a label or annotation has a fixed meaning on the pods of an installation.
func reserved(key string) bool {
	switch key {
	case "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/version":
		return true
	}
	return strings.HasPrefix(key, "linkerd.io/")
}

// LocalObjectID names an object of the installation's namespace.
type LocalObjectID struct {
	Name string `json:"name"`
}

// Toleration is a pod toleration. Source: Kubernetes core/v1 Toleration.
type Toleration struct {
	Key               string `json:"key,omitempty"`
	Operator          string `json:"operator,omitempty"`
	Value             string `json:"value,omitempty"`
	Effect            string `json:"effect,omitempty"`
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// Resources are the requests and limits of one container. An empty quantity sets none.
type Resources struct {
	CPU              inject.Bound `json:"cpu"`
	Memory           inject.Bound `json:"memory"`
	EphemeralStorage inject.Bound `json:"ephemeral-storage"`
}

// Spec returns the resources as a container's spec has them, without empty ones. Quantities have the form that the API
// server stores, so that another apply of the same manifests changes nothing.
func (r Resources) Spec() map[string]map[string]string {
	spec := map[string]map[string]string{}
	add := func(kind, name, quantity string) {
		if quantity == "" {
			return
		}
		if q, err := resource.ParseQuantity(quantity); err == nil {
			quantity = q.String()
		}
		if spec[kind] == nil {
			spec[kind] = map[string]string{}
		}
		spec[kind][name] = quantity
	}
	for name, bound := range map[string]inject.Bound{"cpu": r.CPU, "memory": r.Memory,
		"ephemeral-storage": r.EphemeralStorage} {
		add("requests", name, bound.Request)
		add("limits", name, bound.Limit)
	}
	return spec
}

// GoMemoryLimit returns nine tenths of the memory limit in bytes; 0 without a limit. From there on the garbage
// collector works harder, so that the kernel does not kill the process at the limit.
func (r Resources) GoMemoryLimit() int64 {
	q, err := resource.ParseQuantity(r.Memory.Limit)
	if err != nil {
		return 0 // empty, or refused by Validate
	}
	return q.Value() / 10 * 9
}

// CheckResources returns an error for each quantity that is not positive. The keys are those of the values.
func CheckResources(all map[string]Resources) error {
	var errs []error
	for key, r := range all {
		for kind, quantities := range r.Spec() {
			for name, quantity := range quantities {
				if q, err := resource.ParseQuantity(quantity); err != nil || q.Sign() <= 0 {
					errs = append(errs, fmt.Errorf("%s.%s %s: %q is not a positive quantity", key, name, kind, quantity))
				}
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
