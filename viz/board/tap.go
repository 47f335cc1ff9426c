package board

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/viz/resource"
)

// TapPage is what a viewer of the page Tap can choose to watch. The requests themselves come from the tap API.
type TapPage struct {
	Head
	// Targets are the workloads of the link's namespace; for every namespace they are the namespaces with pods. Those
	// with pods to watch come first. It is never null.
	Targets []TapTarget `json:"targets"`
}

// TapTarget is something to watch.
type TapTarget struct {
	Ref
	// Pods counts the pods that have not ended, and Watchable those that tap can watch, as in `tulle viz list`.
	Pods      int `json:"pods"`
	Watchable int `json:"watchable"`
}

// Tap returns the workloads of the link's namespace, or the namespaces, that can be watched.
func Tap(ctx context.Context, s Sources, q Query) (TapPage, error) {
	page := TapPage{Head: newHead(q, nil), Targets: []TapTarget{}}
	var err error
	if q.Namespace == "" {
		err = page.addNamespaces(ctx, s)
	} else {
		err = page.addWorkloads(ctx, s, q.Namespace)
	}
	if err != nil {
		return TapPage{}, err
	}
	slices.SortFunc(page.Targets, func(a, b TapTarget) int {
		return cmp.Or(cmp.Compare(min(b.Watchable, 1), min(a.Watchable, 1)), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Kind, b.Kind))
	})
	return page, nil
}

// addNamespaces adds each namespace that has pods.
func (p *TapPage) addNamespaces(ctx context.Context, s Sources) error {
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return err
	}
	pods, err := s.Objects.List(ctx, kind, "", "")
	if err != nil {
		return err
	}
	found := map[string]*TapTarget{}
	for _, o := range pods {
		if found[o.Namespace] == nil {
			found[o.Namespace] = &TapTarget{Ref: Ref{Kind: resource.Namespace, Name: o.Namespace}}
		}
		found[o.Namespace].count(o.Pods)
	}
	for _, t := range found {
		p.Targets = append(p.Targets, *t)
	}
	return nil
}

// addWorkloads adds the workloads of a namespace, of the kinds that the viewer may list.
func (p *TapPage) addWorkloads(ctx context.Context, s Sources, namespace string) error {
	var forbidden []error
	for _, name := range listedWorkloads {
		kind, err := resource.ParseKind(name)
		if err != nil {
			return err
		}
		objects, err := s.Objects.List(ctx, kind, namespace, "")
		if apierrors.IsForbidden(err) {
			forbidden = append(forbidden, err)
			p.Notes = append(p.Notes, err.Error())
			continue
		}
		if err != nil {
			return err
		}
		for _, o := range objects {
			t := TapTarget{Ref: Ref{Kind: kind.Name, Namespace: o.Namespace, Name: o.Name}}
			t.count(o.Pods)
			p.Targets = append(p.Targets, t)
		}
	}
	if len(forbidden) == len(listedWorkloads) {
		return forbidden[0]
	}
	if len(p.Targets) == 0 {
		return resource.CheckNamespace(ctx, s.Objects, namespace)
	}
	return nil
}

func (t *TapTarget) count(pods []resource.Pod) {
	for _, p := range pods {
		if p.Finished {
			continue
		}
		t.Pods++
		if p.Meshed && p.Running && p.TapEnabled {
			t.Watchable++
		}
	}
}
