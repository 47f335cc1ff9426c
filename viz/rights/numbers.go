package rights

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// namespaceLabel is the label with the namespace of the proxy that counted. Every series has it.
const namespaceLabel = "namespace"

// hiddenNotes replaces the notes for a viewer who may not see every namespace.
const hiddenNotes = "Some numbers may be missing or old. Viewers who may list the pods of every namespace see why."

// errHidden replaces the error of a source for such a viewer.
var errHidden = errors.New("there are no numbers now; viewers who may list the pods of every namespace see why")

// numbers is a source that removes the numbers that the viewer may not see. It asks the same question for every viewer,
// so that all viewers share the answer.
type numbers struct {
	rights *Rights
	source metrics.Source
}

// Numbers returns a source with only the samples of proxies in namespaces that the viewer may see. It sums them up
// after that, so that a sum has no hidden part.
func (r *Rights) Numbers(source metrics.Source) metrics.Source { return numbers{r, source} }

// Ask implements metrics.Source.
func (n numbers) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	all, err := n.rights.MaySee(ctx, "")
	if err != nil {
		return metrics.Answer{}, err
	}
	l := limits{queries: queries, all: all}
	answer, err := n.source.Ask(ctx, window, byNamespace(queries))
	if err != nil {
		return metrics.Answer{}, l.fault(ctx, err)
	}
	if err := l.find(ctx, n.rights, answer.Samples); err != nil {
		return metrics.Answer{}, err
	}
	answer.Samples, answer.Notes = l.apply(answer.Samples), l.notes(answer.Notes)
	return answer, nil
}

// AskHistory answers a question about the past.
type AskHistory func(context.Context, metrics.HistoryRequest) (metrics.History, error)

// History does for ask what Numbers does for a source.
func (r *Rights) History(ask AskHistory) AskHistory {
	return func(ctx context.Context, request metrics.HistoryRequest) (metrics.History, error) {
		all, err := r.MaySee(ctx, "")
		if err != nil {
			return metrics.History{}, err
		}
		l := limits{queries: request.Queries, all: all}
		request.Queries = byNamespace(request.Queries)
		history, err := ask(ctx, request)
		if err != nil {
			return metrics.History{}, l.fault(ctx, err)
		}
		answers := make([][][]metrics.Sample, len(history.Moments))
		for i, m := range history.Moments {
			answers[i] = m.Samples
		}
		if err := l.find(ctx, r, answers...); err != nil {
			return metrics.History{}, err
		}
		limited := metrics.History{Notes: l.notes(history.Notes)}
		for _, m := range history.Moments {
			limited.Moments = append(limited.Moments, metrics.Moment{At: m.At, Samples: l.apply(m.Samples)})
		}
		return limited, nil
	}
}

// byNamespace returns the queries with the namespace as a further label of their sums, so that a namespace can be left
// out.
func byNamespace(queries []metrics.Query) []metrics.Query {
	out := slices.Clone(queries)
	for i, q := range out {
		if sumsNamespaces(q) {
			out[i].By = append(slices.Clone(q.By), namespaceLabel)
		}
	}
	return out
}

// sumsNamespaces reports whether a sample of the query can be a sum over several namespaces.
func sumsNamespaces(q metrics.Query) bool {
	_, one := only(q)
	return !one && !slices.Contains(q.By, namespaceLabel)
}

// only returns the namespace of a query that selects the series of one namespace; false for other queries.
func only(q metrics.Query) (namespace string, ok bool) {
	for _, m := range q.Match {
		if m.Label == namespaceLabel && m.Op == metrics.Equal {
			return m.Value, true
		}
	}
	return "", false
}

// limits are the namespaces that a viewer may see in the answers to byNamespace of the queries.
type limits struct {
	queries []metrics.Query
	// all means that the viewer may see every namespace. Otherwise the viewer may see those in visible.
	all     bool
	visible []string
}

// find sets visible: the namespaces of the answers that the viewer may see.
func (l *limits) find(ctx context.Context, r *Rights, answers ...[][]metrics.Sample) (err error) {
	if l.all {
		return nil
	}
	found := map[string]bool{}
	for i, q := range l.queries {
		if namespace, ok := only(q); ok {
			found[namespace] = true
			continue
		}
		for _, answer := range answers {
			for _, s := range answer[i] {
				found[s.Labels[namespaceLabel]] = true
			}
		}
	}
	delete(found, "") // nobody sees series without a namespace
	l.visible, err = r.Filter(ctx, slices.Collect(maps.Keys(found)))
	return err
}

// fault returns the error of a source without its text, which may name pods of any namespace.
func (l *limits) fault(ctx context.Context, err error) error {
	switch {
	case l.all:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("ask for numbers: %w", ctx.Err())
	case errors.Is(err, metrics.ErrNoHistory):
		return metrics.ErrNoHistory
	}
	return errHidden
}

// notes returns the notes that the viewer may see. Notes may name pods of any namespace.
func (l *limits) notes(notes []string) []string {
	if l.all || len(notes) == 0 {
		return notes
	}
	return []string{hiddenNotes}
}

// apply returns the samples of an answer that the viewer may see. It does not change the answer, which viewers share.
func (l *limits) apply(answer [][]metrics.Sample) [][]metrics.Sample {
	out := make([][]metrics.Sample, len(answer))
	for i, q := range l.queries {
		out[i] = l.limit(q, answer[i])
		if sumsNamespaces(q) {
			out[i] = sum(out[i], q.By)
		}
	}
	return out
}

func (l *limits) limit(q metrics.Query, samples []metrics.Sample) (out []metrics.Sample) {
	if namespace, ok := only(q); l.all || ok && slices.Contains(l.visible, namespace) {
		return samples
	} else if ok {
		return nil
	}
	for _, s := range samples {
		if slices.Contains(l.visible, s.Labels[namespaceLabel]) {
			out = append(out, s)
		}
	}
	return out
}

// sum adds up the samples with the same values of the labels in by.
func sum(samples []metrics.Sample, by []string) (out []metrics.Sample) {
	at := map[string]int{}
	for _, s := range samples {
		key := golden.Key(s.Labels, by)
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			labels := map[string]string{}
			for _, l := range by {
				if value := s.Labels[l]; value != "" {
					labels[l] = value
				}
			}
			out = append(out, metrics.Sample{Labels: labels})
		}
		out[i].Value += s.Value
	}
	return out
}
