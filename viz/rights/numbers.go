package rights

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// namespaceLabel is the label of every series with the namespace of the proxy that counted.
const namespaceLabel = "namespace"

// hiddenNotes takes the place of notes, which may name pods of any namespace.
const hiddenNotes = "Some numbers may be missing or old. Viewers who may list the pods of every namespace see why."

// numbers is a source without the numbers that the viewer may not see. It asks the same questions for every viewer, so
// that all can share the answers.
type numbers struct {
	rights *Rights
	source metrics.Source
}

// Numbers returns the source without what proxies in other namespaces counted than those that the viewer may see.
func (r *Rights) Numbers(source metrics.Source) metrics.Source { return numbers{r, source} }

// Ask implements metrics.Source.
func (n numbers) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	all, err := n.rights.May(ctx, "")
	if err != nil {
		return metrics.Answer{}, err
	}
	answer, err := n.source.Ask(ctx, window, queries)
	if err != nil || all {
		return answer, err
	}
	visible, err := n.visible(ctx, queries, answer)
	if err != nil {
		return metrics.Answer{}, err
	}
	limited := metrics.Answer{Window: answer.Window, Samples: make([][]metrics.Sample, len(answer.Samples))}
	for i, samples := range answer.Samples {
		limited.Samples[i] = limit(queries[i], samples, visible)
	}
	if len(answer.Notes) > 0 {
		limited.Notes = []string{hiddenNotes}
	}
	return limited, nil
}

// visible returns those namespaces of the answer that the viewer may see.
func (n numbers) visible(ctx context.Context, queries []metrics.Query, answer metrics.Answer) ([]string, error) {
	found := map[string]bool{}
	for i, q := range queries {
		if namespace, ok := only(q); ok {
			found[namespace] = true
			continue
		}
		for _, s := range answer.Samples[i] {
			found[s.Labels[namespaceLabel]] = true
		}
	}
	delete(found, "") // series of no namespace are nobody's
	return n.rights.Among(ctx, slices.Collect(maps.Keys(found)))
}

// only returns the one namespace whose series a query selects.
func only(q metrics.Query) (namespace string, ok bool) {
	for _, m := range q.Match {
		if m.Label == namespaceLabel && m.Op == metrics.Equal {
			return m.Value, true
		}
	}
	return "", false
}

// limit returns the samples that are of visible namespaces. A sum over all namespaces is of none.
func limit(q metrics.Query, samples []metrics.Sample, visible []string) (out []metrics.Sample) {
	if namespace, ok := only(q); ok {
		if slices.Contains(visible, namespace) {
			return samples
		}
		return nil
	}
	for _, s := range samples {
		if slices.Contains(visible, s.Labels[namespaceLabel]) {
			out = append(out, s)
		}
	}
	return out
}
