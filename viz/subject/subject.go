// Package subject is the objects that a viz command is asked about.
//
// It owns which objects they are, how the series of their proxies name them, and which sample belongs to which of them.
// It reads the cluster through a resource.Lister. The one idea: after Attribute, a sample has the object's name in two
// labels, whatever the kind, so the commands need not know kinds.
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

// Namespace and Name are the labels that Attribute gives to a sample.
const (
	Namespace = "subject_namespace"
	Name      = "subject_name"
)

// By are the labels that tell the objects of one kind apart after Attribute.
var By = []string{Namespace, Name}

// Result is the answer to a Request in the rows of one command.
type Result[R any] struct {
	Rows []R
	// Notes are sentences for the user.
	Notes []string
}

// Request says which objects a command is about, and for which window.
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
	// Names are the names that the user gave; none means every object.
	Names []string
	// Objects are sorted by namespace and name. A kind that is not in the cluster has none: only series name it.
	Objects []resource.Object
	// Source is how the series of the objects' own proxies name them, and Destination how those of their callers do.
	Source, Destination Naming

	namespace string // the request's
}

// Naming says which labels of series name the objects of a Subject.
type Naming struct {
	// Match selects series that may be theirs, and By are the labels that Attribute needs.
	Match []metrics.Match
	By    []string
	// owners maps the values of By to their objects; nil for a kind that is not in the cluster.
	owners map[string]resource.Object
}

// Select returns a Subject for each target that has objects. It returns an error for a kind without proxies. If there
// are several targets, it skips such kinds, and a note names each kind that the user may not list.
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
		if req.Skips(target, err) {
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

// Skips reports whether the request goes on without a target, whose listing returned err. It does if the user may not
// list that kind, and the request asks for several kinds.
func (r Request) Skips(target resource.Target, err error) bool {
	return len(r.Targets) > 1 && len(target.Names) == 0 && apierrors.IsForbidden(err)
}

// Find returns the Subject of one target. It returns an error for a name that does not exist.
func Find(ctx context.Context, cluster resource.Lister, target resource.Target, req Request) (*Subject, error) {
	s := &Subject{Kind: target.Kind, Names: target.Names, namespace: req.Namespace}
	if s.Kind.InCluster() {
		var err error
		if s.Objects, err = list(ctx, cluster, target, req); err != nil {
			return nil, err
		}
	}
	s.Source = s.NamedBy("namespace", s.Kind.Source)
	s.Destination = s.NamedBy("dst_namespace", s.Kind.Destination)
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

// NamedBy returns the Naming of series that name an object by these two labels: its namespace and its name.
func (s *Subject) NamedBy(namespace, name string) Naming {
	n := Naming{By: []string{namespace, name}}
	if s.Kind.Name == resource.Namespace {
		n.By = n.By[:1]
	} else if s.namespace != "" {
		n.Match = append(n.Match, metrics.Is(namespace, s.namespace))
	}
	if len(s.Names) == 1 && s.Kind.Class != resource.ByPod {
		n.Match = append(n.Match, metrics.Is(name, s.Names[0]))
	} else {
		n.Match = append(n.Match, metrics.Not(name, ""))
	}
	if !s.Kind.InCluster() {
		return n
	}
	n.owners = map[string]resource.Object{}
	for _, o := range s.Objects {
		switch {
		case s.Kind.Name == resource.Namespace:
			n.owners[golden.KeyOf(o.Name)] = o
		case s.Kind.Class == resource.ByPod:
			for _, pod := range o.Pods {
				n.owners[golden.KeyOf(o.Namespace, pod.Name)] = o
			}
		default:
			n.owners[golden.KeyOf(o.Namespace, o.Name)] = o
		}
	}
	return n
}

// Attribute returns the samples that belong to one of the objects, and adds the labels Namespace and Name. If the kind
// is not in the cluster, every sample belongs to the object that its labels name.
func (n Naming) Attribute(samples []metrics.Sample) (attributed []metrics.Sample) {
	for _, sample := range samples {
		o, ok := n.owners[golden.Key(sample.Labels, n.By)]
		if n.owners == nil {
			o, ok = resource.Object{Namespace: sample.Labels[n.By[0]], Name: sample.Labels[n.By[1]]}, true
		}
		if ok {
			labels := maps.Clone(sample.Labels)
			labels[Namespace], labels[Name] = o.Namespace, o.Name
			attributed = append(attributed, metrics.Sample{Labels: labels, Value: sample.Value})
		}
	}
	return attributed
}

// Answers are the samples of each Subject's queries.
type Answers struct {
	Samples [][][]metrics.Sample
	// Window is the time that the increases cover.
	Window time.Duration
	Notes  []string
}

// Ask asks the queries of all subjects as one question, so a source that reads the proxies waits only once.
func Ask[S any](ctx context.Context, src metrics.Source, window time.Duration, subjects []S,
	queries func(S) []metrics.Query) (Answers, error) {
	var all []metrics.Query
	counts := make([]int, len(subjects))
	for i, s := range subjects {
		some := queries(s)
		counts[i], all = len(some), append(all, some...)
	}
	if len(all) == 0 {
		return Answers{Window: window}, nil // without a wait for the window to pass
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

// DisplayName returns the name of an object in a table, with the kind before it if the table has several kinds.
func (s *Subject) DisplayName(name string, several bool) string {
	if several {
		return s.Kind.Prefix() + "/" + name
	}
	return name
}
