package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

const metricsHead = `# Metrics of the control plane

Generated from the registries; run ` + "`go test ./cmd/tulle-controller -update`" + ` after a change. Each controller
serves its own at ` + "`/metrics`" + ` of its admin port, and ` + "`tulle diagnostics controller-metrics`" + ` prints those of every
replica. Metrics of the Go runtime and of the process are not listed. [alerts.md](alerts.md) says which are worth an
alert.
`

const metricsTable = `
## %s

| metric | meaning | labels |
|---|---|---|
%s`

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

// metricsRows describes what a registry holds.
func metricsRows(r *prometheus.Registry) string {
	ch := make(chan *prometheus.Desc)
	go func() { r.Describe(ch); close(ch) }()
	var lines []string
	for d := range ch {
		m := desc.FindStringSubmatch(d.String())
		if m == nil || strings.HasPrefix(m[1], "go_") || strings.HasPrefix(m[1], "process_") {
			continue
		}
		help := strings.ReplaceAll(m[2], `\"`, `"`)
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], help, strings.ReplaceAll(m[3], ",", ", ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestMetricsAreDocumented(t *testing.T) {
	const file = "../../docs/controller-metrics.md"
	got := metricsHead
	for _, c := range []struct {
		name    string
		metrics func(*testing.T) *prometheus.Registry
	}{
		{"Destination controller", destinationMetrics},
		{"Identity controller", identityMetrics},
		{"Injector", injectorMetrics},
	} {
		got += fmt.Sprintf(metricsTable, c.name, metricsRows(c.metrics(t)))
	}
	got += metricsTail
	goldentest.Equal(t, file, got)
}

func destinationMetrics(t *testing.T) *prometheus.Registry {
	t.Helper()
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
	return registry
}

func identityMetrics(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	if _, err := identity.New(identity.Config{
		Client: fake.NewClientset(), Listener: listener(t), Namespace: "tulle", Replica: "a", TrustDomain: "cluster.local",
		Limits: identity.DefaultLimits(), Log: zap.NewNop(), Registry: registry,
	}); err != nil {
		t.Fatal(err)
	}
	return registry
}

func injectorMetrics(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	if _, err := injector.New(injector.Config{
		Listener: listener(t), Namespace: "tulle", Client: fake.NewClientset(),
		Metadata: metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme()), Log: zap.NewNop(), Registry: registry,
	}); err != nil {
		t.Fatal(err)
	}
	return registry
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
