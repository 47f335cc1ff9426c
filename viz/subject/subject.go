// Package subject is the objects that a viz command is asked about.
//
// It owns which objects they are, how the series of their proxies name them, and which sample belongs to which of them.
// It reads the cluster through a resource.Lister. The one idea: after Own, a sample has the object's name in two
// labels, whatever the kind, so that the commands do not know kinds.
package subject

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// Namespace and Name are the labels that Own gives to a sample.
const (
	Namespace = "subject_namespace"
	Name      = "subject_name"
)

// By are the labels that tell the objects of one kind apart after Own.
var By = []string{Namespace, Name}

// Result is the answer to a Request in the rows of one command.
type Result[R any] struct {
	Rows []R
	// Notes are sentences for the user.
	Notes []string
}

// Request is which objects, and how far back.
type Request struct {
	Targets []resource.Target
	// Namespace is that of the targets; "" is every namespace.
	Namespace string
	// Selector selects the targets by their labels; "" selects all.
	Selector string
	Window   time.Duration
}

// Subject is the objects of one kind that a command is asked about.
type Subject struct {
	Kind resource.Kind
	// Names are those that the user gave; none means every object.
	Names []string
	// Objects are sorted by namespace and name. A kind that is not in the cluster has none: only series name it.
	Objects []resource.Object
	// Source is how the series of the objects' own proxies name them, and Destination how those of their callers do.
	Source, Destination Side

	namespace string // the request's
}

// Side is how series name the objects of a Subject.
type Side struct {
	// Match selects series that may be theirs, and By are the labels that Own needs.
	Match []metrics.Match
	By    []string
	// owners are the objects by the values of By; nil for a kind that is not in the cluster.
	owners map[string]resource.Object
}

// Select returns the objects of the targets, which have proxies. A kind without an object has no Subject. Of several
// targets, a note names each kind that the user may not list.
func Select(ctx context.Context, cluster resource.Lister, req Request) (subjects []*Subject, notes []string,
	err error) {
	for _, target := range req.Targets {
		if !target.Kind.HasPods() {
			if len(req.Targets) > 1 && len(target.Names) == 0 { // one of `all`
				continue
			}
			return nil, nil, fmt.Errorf("%s have no proxies: name a workload, a pod or a namespace", target.Kind.Plural)
		}
		s, err := Find(ctx, cluster, target, req)
		if req.LeavesOut(target, err) {
			notes = append(notes, err.Error())
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if len(s.Objects) > 0 {
			subjects = append(subjects, s)
		}
	}
	if len(subjects) == 0 {
		return nil, notes, resource.CheckNamespace(ctx, cluster, req.Namespace)
	}
	return subjects, notes, nil
}

// LeavesOut reports whether err means that the user may not list the target's kind, and the request goes on without it,
// because it asks for several kinds.
func (r Request) LeavesOut(target resource.Target, err error) bool {
	return len(r.Targets) > 1 && len(target.Names) == 0 && apierrors.IsForbidden(err)
}

// Find returns the objects of one target. It returns an error for a name that does not exist.
func Find(ctx context.Context, cluster resource.Lister, target resource.Target, req Request) (*Subject, error) {
	s := &Subject{Kind: target.Kind, Names: target.Names, namespace: req.Namespace}
	if s.Kind.InCluster() {
		var err error
		if s.Objects, err = list(ctx, cluster, target, req); err != nil {
			return nil, err
		}
	}
	s.Source = s.Side("namespace", s.Kind.Source)
	s.Destination = s.Side("dst_namespace", s.Kind.Destination)
	return s, nil
}

func list(ctx context.Context, cluster resource.Lister, target resource.Target, req Request) ([]resource.Object,
	error) {
	k, namespace := target.Kind, req.Namespace
	if k.Name == resource.Namespace {
		namespace = ""
		if len(target.Names) == 1 {
			namespace = target.Names[0]
		}
	}
	objects, err := cluster.List(ctx, k, namespace, req.Selector)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 && len(target.Names) > 0 && k.Name != resource.Namespace {
		if err := resource.CheckNamespace(ctx, cluster, namespace); err != nil {
			return nil, err
		}
	}
	if objects, err = resource.Select(k, objects, target.Names, namespace); err != nil {
		return nil, err
	}
	resource.Sort(objects)
	return objects, nil
}

// Side returns how series name the objects whose labels for the namespace and the name of an object are these.
func (s *Subject) Side(namespace, name string) Side {
	v := Side{By: []string{namespace, name}}
	if s.Kind.Name == resource.Namespace {
		v.By = v.By[:1]
	} else if s.namespace != "" {
		v.Match = append(v.Match, metrics.Is(namespace, s.namespace))
	}
	if len(s.Names) == 1 && s.Kind.Class != resource.ByPod {
		v.Match = append(v.Match, metrics.Is(name, s.Names[0]))
	} else {
		v.Match = append(v.Match, metrics.Not(name, ""))
	}
	if !s.Kind.InCluster() {
		return v
	}
	v.owners = map[string]resource.Object{}
	for _, o := range s.Objects {
		switch {
		case s.Kind.Name == resource.Namespace:
			v.owners[golden.KeyOf(o.Name)] = o
		case s.Kind.Class == resource.ByPod:
			for _, pod := range o.Pods {
				v.owners[golden.KeyOf(o.Namespace, pod.Name)] = o
			}
		default:
			v.owners[golden.KeyOf(o.Namespace, o.Name)] = o
		}
	}
	return v
}

// Own returns the samples that are of one of the objects, with the labels Namespace and Name. A kind that is not in the
// cluster owns every sample of the series that name it.
func (v Side) Own(samples []metrics.Sample) (own []metrics.Sample) {
	for _, sample := range samples {
		o, ok := v.owners[golden.Key(sample.Labels, v.By)]
		if v.owners == nil {
			o, ok = resource.Object{Namespace: sample.Labels[v.By[0]], Name: sample.Labels[v.By[1]]}, true
		}
		if ok {
			labels := maps.Clone(sample.Labels)
			labels[Namespace], labels[Name] = o.Namespace, o.Name
			own = append(own, metrics.Sample{Labels: labels, Value: sample.Value})
		}
	}
	return own
}

// Answers are the samples of each Subject's queries.
type Answers struct {
	Samples [][][]metrics.Sample
	// Window is the time that the increases cover.
	Window time.Duration
	Notes  []string
}

// Ask asks the queries of all subjects as one question, so that a source that reads the proxies waits once.
func Ask[S any](ctx context.Context, src metrics.Source, window time.Duration, subjects []S,
	queries func(S) []metrics.Query) (Answers, error) {
	var all []metrics.Query
	counts := make([]int, len(subjects))
	for i, s := range subjects {
		some := queries(s)
		counts[i], all = len(some), append(all, some...)
	}
	if len(all) == 0 {
		return Answers{Window: window}, nil // so nobody waits for a window
	}
	answer, err := src.Ask(ctx, window, all)
	if err != nil {
		return Answers{}, err
	}
	if len(answer.Samples) != len(all) {
		return Answers{}, fmt.Errorf("read numbers: %d answers to %d queries", len(answer.Samples), len(all))
	}
	out := Answers{Window: cmp.Or(answer.Window, window), Notes: answer.Notes}
	for _, n := range counts {
		out.Samples = append(out.Samples, slices.Clip(answer.Samples[:n]))
		answer.Samples = answer.Samples[n:]
	}
	return out, nil
}

// Label returns how a table names an object: with the kind before it if the table has several.
func (s *Subject) Label(name string, several bool) string {
	if several {
		return s.Kind.Prefix() + "/" + name
	}
	return name
}
