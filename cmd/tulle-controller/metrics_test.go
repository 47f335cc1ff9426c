package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

var update = flag.Bool("update", false, "write docs/controller-metrics.md again")

const metricsHead = `# Metrics of the destination controller

Generated from its registry; run ` + "`go test ./cmd/tulle-controller -update`" + ` after a change. The controller serves them at
` + "`:9996/metrics`" + `, and ` + "`tulle diagnostics controller-metrics`" + ` prints those of every replica. Metrics of the Go runtime
and of the process are not listed.

Worth an alert:

* ` + "`tulle_kube_kind_missing > 0`" + `: somebody removed a CustomResourceDefinition. Its last objects stay active only while this
  process runs.
* ` + "`tulle_kube_decode_failures_total`" + ` or ` + "`tulle_destination_problems_total`" + ` rises: objects have mistakes.
* ` + "`tulle_kube_request_failures_total`" + ` rises: the API server is away or refuses.
* ` + "`sum(tulle_kube_leading) == 0`" + `: nobody writes statuses.

| metric | meaning | labels |
|---|---|---|
`

const metricsTail = `
## Bounds

These are the bounds of values that requests, pods and namespaces can choose. They hold for the destination controller,
the identity controller and the injector:

| label | of | bound |
|---|---|---|
| group, kind | the destination controller | the kinds that it watches |
| field | the destination controller | the fields and annotations that it reads; annotations that it does not know count under their prefix |
| reason, result, task, outcome, skip, skip_reason, annotation_at | all three | constant words; no identity, address or name |
| status | the destination controller | the statuses of the API server's errors |
| owner_kind | the injector | nine kinds; any other is "other" |
| namespace | the injector | the first 2000 since it started; the others are "_other" |
`

var desc = regexp.MustCompile(
	`^Desc\{fqName: "([^"]+)", help: "(.*)", unit: "", constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// metricsDoc describes what a registry holds.
func metricsDoc(r *prometheus.Registry) string {
	ch := make(chan *prometheus.Desc)
	go func() { r.Describe(ch); close(ch) }()
	var lines []string
	for d := range ch {
		m := desc.FindStringSubmatch(d.String())
		if m == nil || !strings.HasPrefix(m[1], "tulle_") {
			continue
		}
		help := strings.ReplaceAll(m[2], `\"`, `"`)
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], help, strings.ReplaceAll(m[3], ",", ", ")))
	}
	slices.Sort(lines)
	return metricsHead + strings.Join(lines, "") + metricsTail
}

func TestMetricsAreDocumented(t *testing.T) {
	registry := prometheus.NewRegistry()
	kube.CountFailures(registry)
	env := &daemon.Env{Log: zap.NewNop(), Registry: registry, Ready: &daemon.Readiness{}}
	f := defaultDestination()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	manager := meshtest.NewCA(t).Certs(f.id(mesh.DestinationName))
	if err := f.serve(ended, env, clientsOf(t, fake.NewClientset()), manager); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	const file = "../../docs/controller-metrics.md"
	got := metricsDoc(registry)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
