package board

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/viz/resource"
)

// tapObjects is a lister of objects by kind. Without any it has the namespace shop only.
type tapObjects map[string][]resource.Object

// List implements resource.Lister.
func (l tapObjects) List(_ context.Context, k resource.Kind, namespace, _ string) (out []resource.Object, err error) {
	if k.Name == resource.Namespace {
		return []resource.Object{{Name: "shop"}}, nil
	}
	if _, forbidden := l["forbidden "+k.Name]; forbidden {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: k.Plural}, "", errors.New("no right"))
	}
	for _, o := range l[k.Name] {
		if namespace == "" || namespace == o.Namespace {
			out = append(out, o)
		}
	}
	return out, nil
}

func TestTap(t *testing.T) {
	tapped := resource.Pod{Meshed: true, Running: true, TapEnabled: true}
	later, ended := tapped, tapped
	later.TapEnabled, ended.Finished = false, true
	objects := tapObjects{
		"deployment": {{Namespace: "shop", Name: "api"}, {Namespace: "shop", Name: "web",
			Pods: []resource.Pod{tapped, later, ended}}, {Namespace: "data", Name: "db"}},
		"statefulset": {{Namespace: "shop", Name: "cart", Pods: []resource.Pod{tapped}}},
		"pod": {{Namespace: "shop", Name: "web-1", Pods: []resource.Pod{tapped}},
			{Namespace: "shop", Name: "web-2", Pods: []resource.Pod{later}},
			{Namespace: "data", Name: "db-1", Pods: []resource.Pod{{}}}},
	}
	target := func(kind, namespace, name string, pods, watchable int) TapTarget {
		return TapTarget{Ref: Ref{kind, namespace, name}, Pods: pods, Watchable: watchable}
	}
	for namespace, want := range map[string][]TapTarget{
		"": {target("namespace", "", "shop", 2, 1), target("namespace", "", "data", 1, 0)},
		"shop": {target("statefulset", "shop", "cart", 1, 1), target("deployment", "shop", "web", 2, 1),
			target("deployment", "shop", "api", 0, 0)},
	} {
		page, err := Tap(t.Context(), Sources{Objects: objects}, Query{Namespace: namespace})
		if err != nil {
			t.Errorf("namespace %q: %v", namespace, err)
		}
		if diff := cmp.Diff(want, page.Targets); diff != "" {
			t.Errorf("namespace %q (-want +got):\n%s", namespace, diff)
		}
	}
	if _, err := Tap(t.Context(), Sources{Objects: tapObjects{}}, Query{Namespace: "shp"}); !errors.Is(err,
		resource.ErrNotFound) {
		t.Errorf("a namespace that does not exist: got error %v", err)
	}
}

func TestTapWithoutTheRightToAKind(t *testing.T) {
	objects := tapObjects{"forbidden cronjob": nil, "deployment": {{Namespace: "shop", Name: "web"}}}
	page, err := Tap(t.Context(), Sources{Objects: objects}, Query{Namespace: "shop"})
	if err != nil || len(page.Targets) != 1 || len(page.Notes) != 1 {
		t.Errorf("targets %+v, notes %q, error %v", page.Targets, page.Notes, err)
	}
	for _, kind := range listedWorkloads {
		objects["forbidden "+kind] = nil
	}
	if _, err := Tap(t.Context(), Sources{Objects: objects}, Query{Namespace: "shop"}); !apierrors.IsForbidden(err) {
		t.Errorf("without any right: got error %v", err)
	}
}
