package learn

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// Manifests holds the objects of files that would be applied to a cluster.
type Manifests struct {
	Namespace string    // the namespace of objects that name none
	Now       time.Time // the creation time of new objects
	Objects   []*manifest.Object
}

// Apply returns the world after the manifests are applied, and notes about objects that are left out or not accepted.
// An object that exists keeps its creation time, as in Kubernetes, because the older of two Servers decides.
func (w *World) Apply(live []model.Event, m Manifests) (*World, []string, error) {
	var notes []string
	var errs []error
	changes := map[model.ObjectRef]bool{}
	events := slices.Clone(live)
	for _, o := range m.Objects {
		k, known := kindOf(o)
		if !known {
			notes = append(notes, fmt.Sprintf("%q is left out: only policies, routes and namespaces are evaluated", o.Name()))
			continue
		}
		typed, err := decode(o, k)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.complete(typed, k, m)
		events = append(events, model.Event{Object: typed})
		changes[model.ObjectRef{Group: k.Group, Kind: k.Name, Namespace: typed.GetNamespace(), Name: typed.GetName()}] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	after := NewWorld(w.config, events)
	return after, append(notes, after.findings(changes)...), nil
}

// Delete returns the world without the manifests' objects.
func (w *World) Delete(live []model.Event, m Manifests) (*World, error) {
	events := slices.Clone(live)
	for _, o := range m.Objects {
		k, known := kindOf(o)
		if !known {
			continue
		}
		typed, err := decode(o, k)
		if err != nil {
			return nil, err
		}
		w.complete(typed, k, m)
		events = append(events, model.Event{Object: typed, Deleted: true})
	}
	return NewWorld(w.config, events), nil
}

// kindOf returns the kind of an object that has an effect on policy.
func kindOf(o *manifest.Object) (kinds.Kind, bool) {
	apiVersion, _ := o.Tree["apiVersion"].(string)
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = ""
	}
	namespaces, _ := kinds.Find(kinds.Core(), "", "Namespace")
	return kinds.Find(append(kinds.Configuration(), namespaces), group, o.Kind())
}

// decode reads an object as strictly as `kubectl apply` does.
func decode(o *manifest.Object, k kinds.Kind) (metav1.Object, error) {
	data, err := json.Marshal(o.Tree)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", o.Name(), err)
	}
	var tree map[string]any
	if err := utiljson.Unmarshal(data, &tree); err != nil { // whole numbers become int64, as the converter wants them
		return nil, fmt.Errorf("decode %s: %w", o.Name(), err)
	}
	delete(tree, "status")
	typed := k.New()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(tree, typed, true); err != nil {
		return nil, o.ErrorAt("", err.Error())
	}
	if typed.GetName() == "" {
		return nil, o.ErrorAt("metadata.name", "is missing")
	}
	return typed, nil
}

// complete sets the fields that the API server would set.
func (w *World) complete(o metav1.Object, k kinds.Kind, m Manifests) {
	if k.Name != "Namespace" {
		o.SetNamespace(cmp.Or(o.GetNamespace(), m.Namespace))
	}
	o.SetCreationTimestamp(metav1.NewTime(m.Now))
	for _, live := range slices.Backward(w.objects) {
		if reflect.TypeOf(live) != reflect.TypeOf(o) || live.GetName() != o.GetName() ||
			live.GetNamespace() != o.GetNamespace() {
			continue
		}
		o.SetCreationTimestamp(live.GetCreationTimestamp())
		o.SetUID(live.GetUID())
		if ns, ok := o.(*corev1.Namespace); ok { // a namespace has annotations of others
			merged := maps.Clone(live.GetAnnotations())
			if merged == nil {
				merged = map[string]string{}
			}
			maps.Copy(merged, ns.Annotations)
			ns.Annotations = merged
		}
		return
	}
}

// findings returns the mistakes that the status of the objects would report.
func (w *World) findings(of map[model.ObjectRef]bool) (notes []string) {
	for _, out := range w.store.Outcomes() {
		out.Object.UID = ""
		if !of[out.Object] {
			continue
		}
		results := []model.Result{}
		if out.Result != nil {
			results = append(results, *out.Result)
		}
		for _, p := range out.Parents {
			results = append(results, p.Result)
		}
		for _, r := range results {
			for _, f := range r.Findings {
				if f.Severity != compile.Ignored {
					note := fmt.Sprintf("%s %s: %s", out.Object.Kind, out.Object.Name, compile.Join(f.String(), r.Effect))
					notes = append(notes, note)
				}
			}
		}
	}
	return notes
}
