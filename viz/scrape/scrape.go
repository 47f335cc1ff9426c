// Package scrape answers queries from the proxies themselves, without a Prometheus.
//
// It owns which pods are scraped, what is kept of a scrape, and how two scrapes become an increase. It does not reach
// the pods: an Opener does. The one idea: it labels each series as Prometheus's relabelling does, and counts as
// Prometheus's increase does, so that both sources agree.
package scrape

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

const (
	// defaultParallel bounds the pods that are read at once.
	defaultParallel = 16
	// defaultMaxBytes bounds one scrape. A proxy at the bounds of docs/metrics.md writes less.
	defaultMaxBytes = 32 << 20
	// podTimeout bounds one scrape, so that a pod that hangs does not hold up the others.
	podTimeout = 10 * time.Second
	// defaultMaxPodSeries bounds the series that are kept of one pod. A proxy at its own bounds has fewer.
	defaultMaxPodSeries = 60_000
	// defaultMaxSeries bounds the series that are kept of all pods at once. Each takes about 40 bytes.
	defaultMaxSeries = 2_000_000
	// maxPodNotes bounds how many pods the notes name.
	maxPodNotes = 5
	// maxText bounds what a note repeats of an error.
	maxText = 300
)

// Opener opens the metrics that a port of a pod serves, in Prometheus's text format. The caller closes them.
type Opener func(ctx context.Context, pod *corev1.Pod, port int) (io.ReadCloser, error)

// Config says how the proxies are found and read.
type Config struct {
	// Pods returns the pods of a namespace, or of all for "". Pods without a proxy that runs are left out later.
	Pods     func(ctx context.Context, namespace string) ([]*corev1.Pod, error)
	Open     Opener
	Parallel int   // pods that are read at once; 0 means 16
	MaxBytes int64 // of one scrape; 0 means 32 MiB
	// MaxPodSeries bounds the series of one pod that are kept, and MaxSeries those of all pods and questions at a time; 0
	// means 60,000 and 2,000,000. A sample of an answer counts as eight series.
	MaxPodSeries, MaxSeries int
	// MaxWindow bounds how long Ask takes. 0 is no bound.
	MaxWindow time.Duration
}

// Source reads proxies. Its methods may be called by several goroutines if Config's functions may.
type Source struct {
	cfg  Config
	free atomic.Int64 // how many more series may be kept, for all questions
}

// New returns a Source, with the defaults for what is 0 in the configuration.
func New(cfg Config) *Source {
	cfg.Parallel = cmp.Or(cfg.Parallel, defaultParallel)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, defaultMaxBytes)
	cfg.MaxPodSeries = cmp.Or(cfg.MaxPodSeries, defaultMaxPodSeries)
	cfg.MaxSeries = cmp.Or(cfg.MaxSeries, defaultMaxSeries)
	s := &Source{cfg: cfg}
	s.free.Store(int64(cfg.MaxSeries))
	return s
}

// Ask implements metrics.Source. It takes as long as the window, unless all queries ask for values now.
func (s *Source) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	if err := metrics.Validate(window, queries); err != nil {
		return metrics.Answer{}, err
	}
	increases := slices.ContainsFunc(queries, func(q metrics.Query) bool { return !q.Now })
	if increases && s.cfg.MaxWindow > 0 && window > s.cfg.MaxWindow {
		return metrics.Answer{}, fmt.Errorf("read the proxies twice, %v apart: that is too long to wait; "+
			"without a Prometheus the time window is at most %v", window, s.cfg.MaxWindow)
	}
	targets, err := s.targets(ctx, queries)
	if err != nil {
		return metrics.Answer{}, err
	}
	sums := newSums(queries, window)
	collect := s.newCollectors(sums)
	defer collect.close()
	if !increases {
		err = s.readAll(ctx, targets, collect.forNow)
		return s.answer(sums, targets, metrics.OriginPrefix+countProxies(len(targets))), err
	}

	start := time.Now()
	if err := s.readAll(ctx, targets, collect.forFirst); err != nil {
		return metrics.Answer{}, err
	}
	if err := wait(ctx, window-time.Since(start)); err != nil {
		return metrics.Answer{}, fmt.Errorf("wait for the second scrape: %w", err)
	}
	// A pod that started within the window counts from 0. If the pods cannot be listed now, the others still count.
	if later, err := s.targets(ctx, queries); err == nil {
		targets = merge(targets, later)
	}
	err = s.readAll(ctx, targets, collect.forSecond)
	return s.answer(sums, targets, fmt.Sprintf("%s%s, read twice, %v apart", metrics.OriginPrefix,
		countProxies(len(targets)), window)), err
}

func countProxies(n int) string {
	if n == 1 {
		return "1 proxy"
	}
	return fmt.Sprintf("%d proxies", n)
}

// target is a pod to read and what became of it.
type target struct {
	pod     *corev1.Pod
	labels  map[string]string
	metrics map[string]bool // names of the metrics that a query may ask of it
	first   map[key]float64 // values of the first scrape
	at      time.Time       // of the first scrape
	isNew   bool            // the pod started within the window
	err     error           // of the scrape that failed; a pod that failed is not read again
}

func (t *target) name() string { return t.pod.Namespace + "/" + t.pod.Name }

// targets lists the pods whose proxy runs and may have series that a query selects, ordered by name.
func (s *Source) targets(ctx context.Context, queries []metrics.Query) ([]*target, error) {
	var targets []*target
	for _, namespace := range namespaces(queries) {
		pods, err := s.cfg.Pods(ctx, namespace)
		if err != nil {
			return nil, fmt.Errorf("list the pods to read: %w", err)
		}
		for _, pod := range pods {
			t := &target{pod: pod, labels: Labels(pod), metrics: map[string]bool{}}
			for _, q := range queries {
				if mayMatch(q, t.labels) {
					t.metrics[q.Metric] = true
				}
			}
			if len(t.metrics) > 0 && sidecar.Running(pod) {
				targets = append(targets, t)
			}
		}
	}
	slices.SortFunc(targets, func(a, b *target) int { return strings.Compare(a.name(), b.name()) })
	return targets, nil
}

// merge returns the targets and the pods that are new. It marks those that went away as failed.
func merge(targets, later []*target) []*target {
	find := func(list []*target, t *target) bool {
		return slices.ContainsFunc(list, func(o *target) bool { return o.name() == t.name() && o.pod.UID == t.pod.UID })
	}
	for _, t := range targets {
		if t.err == nil && !find(later, t) {
			t.err = errors.New("it ended within the time window")
		}
	}
	all := slices.Clone(targets)
	for _, t := range later {
		if !find(targets, t) {
			t.isNew = true
			all = append(all, t)
		}
	}
	return all
}

// wait returns when d is over, or an error if ctx ends first. It reports progress each second.
func wait(ctx context.Context, d time.Duration) error {
	defer metrics.Progress(ctx, 0)
	end := time.Now().Add(d)
	done, tick := time.NewTimer(d), time.NewTicker(time.Second)
	defer done.Stop()
	defer tick.Stop()
	for {
		if left := time.Until(end); left > 0 {
			metrics.Progress(ctx, left)
		}
		select {
		case <-done.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// readAll scrapes the targets that have not failed, each into a collector. It returns an error if no target is left, or
// ctx ended.
func (s *Source) readAll(ctx context.Context, targets []*target, begin func(*target, time.Time) collector) error {
	var mu sync.Mutex // guards what collectors change when they are done
	var group errgroup.Group
	group.SetLimit(s.cfg.Parallel)
	for _, t := range targets {
		if t.err != nil || ctx.Err() != nil {
			continue
		}
		group.Go(func() error {
			c, err := s.read(ctx, t, begin)
			mu.Lock()
			defer mu.Unlock()
			if t.err = err; c.finish != nil {
				c.finish(err == nil)
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("read the proxies: %w", ctx.Err())
	}
	failed := slices.DeleteFunc(slices.Clone(targets), func(t *target) bool { return t.err == nil })
	if len(failed) > 0 && len(failed) == len(targets) {
		first := failed[0]
		return fmt.Errorf("none of %s answered; pod %s: %w; see `kubectl logs -n %s %s -c %s`", countProxies(len(failed)),
			first.name(), first.err, first.pod.Namespace, first.pod.Name, mesh.ProxyContainer)
	}
	return nil
}

// answer returns the sums, with notes that say where they come from and which pods are missing.
func (s *Source) answer(sums *sums, targets []*target, origin string) metrics.Answer {
	answer := metrics.Answer{Samples: sums.samples(), Window: sums.window, Notes: []string{origin}}
	failed := 0
	for _, t := range targets {
		if t.err == nil {
			continue
		}
		if failed++; failed <= maxPodNotes {
			answer.Notes = append(answer.Notes, fmt.Sprintf("pod %s is missing: %s", t.name(),
				metrics.Printable(t.err.Error(), maxText)))
		}
	}
	if more := failed - maxPodNotes; more > 0 {
		answer.Notes = append(answer.Notes, fmt.Sprintf("%d more pods are missing", more))
	}
	return answer
}
