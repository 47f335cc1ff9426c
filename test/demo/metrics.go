package main

import (
	"context"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

const adminPort = 4191

// unmeshed stands for callers without an identity, such as the kubelet with its probes.
const unmeshed = "(unmeshed)"

// edge is who talks to whom, and how.
type edge struct {
	src, dst string
	tls, why string // labels tls and no_tls_reason of the proxy's metrics
}

// traffic is what an edge carried: counters since the proxies started, or the difference of two such readings.
type traffic struct {
	success, failure float64
	connections      float64 // open now
}

// reading is the state of all proxies at one time, by edge.
type reading map[edge]*traffic

func (r reading) at(e edge) *traffic {
	t := r[e]
	if t == nil {
		t = &traffic{}
		r[e] = t
	}
	return t
}

// scrape reads the metrics of every pod's proxy through the API server.
func (d *demo) scrape(ctx context.Context, pods []pod) (reading, error) {
	texts := make([]string, len(pods))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, p := range pods {
		group.Go(func() error {
			var err error
			path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/metrics", namespace, p.Metadata.Name, adminPort)
			texts[i], err = d.kubectl(groupCtx, "", "get", "--raw", path)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	r := reading{}
	known := map[string]bool{}
	for _, p := range pods {
		known[p.workload()] = true
	}
	for i, p := range pods {
		if err := r.add(p.workload(), known, texts[i]); err != nil {
			return nil, fmt.Errorf("read metrics of %s: %w", p.Metadata.Name, err)
		}
	}
	return r, nil
}

// add counts the metrics of one proxy. Callers of known workloads count what they send; the rest is counted where it
// arrives.
func (r reading) add(workload string, known map[string]bool, text string) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text + "\n"))
	if err != nil {
		return fmt.Errorf("parse metrics: %w", err)
	}
	each := func(name string, visit func(t *traffic, m *dto.Metric, labels map[string]string)) {
		for _, m := range families[name].GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if e, ok := edgeOf(workload, known, labels); ok {
				visit(r.at(e), m, labels)
			}
		}
	}
	each("response_total", func(t *traffic, m *dto.Metric, labels map[string]string) {
		if labels["classification"] == "success" {
			t.success += m.GetCounter().GetValue()
		} else {
			t.failure += m.GetCounter().GetValue()
		}
	})
	each("tcp_open_connections", func(t *traffic, m *dto.Metric, _ map[string]string) {
		t.connections += m.GetGauge().GetValue()
	})
	return nil
}

// edgeOf names the edge of a series. The second result is false for what is not an edge of its own: a series of the
// receiving side whose sender is known, or of the way between a proxy and its own pod.
func edgeOf(workload string, known map[string]bool, labels map[string]string) (edge, bool) {
	e := edge{tls: labels["tls"], why: labels["no_tls_reason"]}
	switch labels["direction"] {
	case "outbound":
		if labels["peer"] == "src" {
			return edge{}, false
		}
		e.src, e.dst = workload, labels["target_addr"]
		for _, name := range []string{"dst_deployment", "dst_statefulset", "dst_daemonset", "dst_service"} {
			if labels[name] != "" {
				e.dst = labels[name]
				break
			}
		}
		return e, true
	case "inbound":
		if labels["peer"] == "dst" {
			return edge{}, false
		}
		e.src, e.dst = caller(labels["client_id"]), workload
		return e, !known[e.src]
	}
	return edge{}, false
}

// caller is the ServiceAccount of an identity; the shop's workloads are named like theirs.
func caller(id string) string {
	if id == "" {
		return unmeshed
	}
	if _, account, ok := strings.Cut(id, "/sa/"); ok {
		return account
	}
	account, _, _ := strings.Cut(id, ".")
	return account
}

// since returns what r carried after the earlier reading. A proxy that started in between counts from zero.
func (r reading) since(earlier reading) reading {
	difference := reading{}
	for e, now := range r {
		before := earlier[e]
		if before == nil || now.success < before.success || now.failure < before.failure {
			before = &traffic{}
		}
		difference[e] = &traffic{
			success: now.success - before.success, failure: now.failure - before.failure, connections: now.connections,
		}
	}
	return difference
}
