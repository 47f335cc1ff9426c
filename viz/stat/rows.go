package stat

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// setNumbers holds the numbers of one set, by the golden.Key of a resource.
type setNumbers struct {
	stats map[string]golden.Stats
	tcp   map[string]TCP
}

// rows returns the rows of the subject, from its objects and the answers to its queries.
func (p *plan) rows(samples [][]metrics.Sample, window time.Duration, req Request) []Row {
	var sets []setNumbers
	for _, s := range p.sets {
		n := setNumbers{stats: s.series.Read(s.naming.Attribute(samples[0]), s.naming.Attribute(samples[1]), subject.By,
			window)}
		samples = samples[2:]
		if s.peer != "" {
			n.tcp = map[string]TCP{}
			s.readTCP(n.tcp, samples, window)
			samples = samples[3:]
		}
		sets = append(sets, n)
	}
	denied := map[string]float64{}
	if p.denied != nil {
		for _, s := range p.sets[0].naming.Attribute(samples[0]) {
			denied[golden.Key(s.Labels, subject.By)] += s.Value / window.Seconds()
		}
	}
	objects := p.objects
	if !p.Kind.InCluster() {
		objects = named(sets, p.Names)
	}
	var rows []Row
	for _, o := range objects {
		row := p.row(o, sets)
		if p.denied != nil {
			rate := denied[golden.KeyOf(o.Namespace, o.Name)]
			row.Denied = &rate
		}
		if p.shown(row, req) {
			rows = append(rows, row)
		}
	}
	return rows
}

// readTCP reads the answers for open connections, bytes read and bytes written.
func (s seriesSet) readTCP(into map[string]TCP, samples [][]metrics.Sample, window time.Duration) {
	add := func(samples []metrics.Sample, apply func(t *TCP, value float64)) {
		for _, sample := range s.naming.Attribute(samples) {
			if !(sample.Value >= 0) || math.IsInf(sample.Value, 0) {
				continue
			}
			key := golden.Key(sample.Labels, subject.By)
			t := into[key]
			apply(&t, sample.Value)
			into[key] = t
		}
	}
	add(samples[0], func(t *TCP, v float64) { t.Open += uint64(math.Round(v)) })
	add(samples[1], func(t *TCP, v float64) { t.ReadRate += v / window.Seconds() })
	add(samples[2], func(t *TCP, v float64) { t.WriteRate += v / window.Seconds() })
	for key, t := range into {
		if t == (TCP{}) {
			delete(into, key)
		}
	}
}

// named returns the objects that the numbers name, for a kind that is not in the cluster.
func named(sets []setNumbers, names []string) (objects []resource.Object) {
	seen := map[string]bool{}
	for _, n := range sets {
		for _, key := range slices.Concat(slices.Collect(maps.Keys(n.stats)), slices.Collect(maps.Keys(n.tcp))) {
			o := resource.Object{}
			o.Namespace, o.Name = golden.SplitKey(key)
			if !seen[key] && (len(names) == 0 || slices.Contains(names, o.Name)) {
				objects = append(objects, o)
			}
			seen[key] = true
		}
	}
	resource.Sort(objects)
	return objects
}

// row joins an object with its numbers.
func (p *plan) row(o resource.Object, sets []setNumbers) Row {
	row := Row{Kind: p.Kind, Namespace: o.Namespace, Name: o.Name, Status: o.Status}
	row.Meshed, row.Total = o.Meshed()
	row.Versions = versions(o)
	key := golden.KeyOf(o.Namespace, o.Name)
	for _, n := range sets {
		if stats, ok := n.stats[key]; ok && row.Stats == nil {
			row.Stats = &stats
		}
		if tcp, ok := n.tcp[key]; ok && row.TCP == nil {
			row.TCP = &tcp
		}
	}
	return row
}

// versions returns the versions of the object's proxies, sorted.
func versions(o resource.Object) (out []string) {
	for _, pod := range o.Pods {
		if pod.Meshed && !pod.Finished && !slices.Contains(out, pod.Version) {
			out = append(out, pod.Version)
		}
	}
	slices.Sort(out)
	return out
}

// shown reports whether the request wants the row: most resources without traffic have none.
func (p *plan) shown(row Row, req Request) bool {
	hasNumbers := row.Stats != nil || row.TCP != nil
	switch {
	case hasNumbers || req.NotVersion != "":
		return true
	case req.To != nil || req.From != nil:
		return false
	case p.Kind.HasPods():
		return row.Meshed > 0 || req.Unmeshed || len(p.Names) > 0
	default:
		return p.Kind.Class != resource.Called
	}
}
