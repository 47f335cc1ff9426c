package viz

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	goldenColumns = "SUCCESS RPS LATENCY_P50 LATENCY_P95 LATENCY_P99"
	goldenKeys    = "success rps latency_ms_p50 latency_ms_p95 latency_ms_p99"
)

// TestColumnsAreLinkerds holds the columns of each table against those of `linkerd viz`, which scripts cut out.
func TestColumnsAreLinkerds(t *testing.T) {
	for args, want := range map[string]string{
		"stat deploy":         "NAME MESHED " + goldenColumns + " TCP_CONN",
		"stat deploy -A":      "NAMESPACE NAME MESHED " + goldenColumns + " TCP_CONN",
		"stat deploy -o wide": "NAME MESHED " + goldenColumns + " TCP_CONN READ_BYTES/SEC WRITE_BYTES/SEC",
		"stat po":             "NAME STATUS MESHED " + goldenColumns + " TCP_CONN",
		"stat ns/shop":        "NAME MESHED " + goldenColumns + " TCP_CONN",
		"stat svc":            "NAME MESHED " + goldenColumns + " TCP_CONN",
		"stat au":             "NAME MESHED " + goldenColumns,
		"stat srv":            "NAME UNAUTHORIZED " + goldenColumns + " TCP_CONN",
		"stat httproutes":     "NAME UNAUTHORIZED " + goldenColumns,
		"edges deploy":        "SRC DST SRC_NS DST_NS SECURED",
		"edges po -o wide":    "SRC DST SRC_NS DST_NS CLIENT_ID SERVER_ID SECURED",
	} {
		checkColumns(t, args, shop(t).run(t, "shop", strings.Fields(args)...), want)
	}
	for args, want := range map[string]string{
		"stat-inbound deploy":    "NAME SERVER ROUTE TYPE " + goldenColumns,
		"stat-inbound deploy -A": "NAMESPACE NAME SERVER ROUTE TYPE " + goldenColumns,
		"stat-outbound deploy":   "NAME SERVICE ROUTE TYPE BACKEND " + goldenColumns + " TIMEOUTS RETRIES",
		"stat-outbound deploy -A": "NAMESPACE NAME SERVICE ROUTE TYPE BACKEND " + goldenColumns +
			" TIMEOUTS RETRIES",
		"routes svc/api": "ROUTE SERVICE " + goldenColumns,
		"routes au/api.shop.svc.cluster.local:80": "ROUTE AUTHORITY " + goldenColumns,
		"routes svc/api -o wide": "ROUTE SERVICE EFFECTIVE_SUCCESS EFFECTIVE_RPS ACTUAL_SUCCESS ACTUAL_RPS LATENCY_P50 " +
			"LATENCY_P95 LATENCY_P99",
		"authz deploy":    "ROUTE SERVER AUTHORIZATION UNAUTHORIZED " + goldenColumns,
		"authz deploy -A": "NAMESPACE ROUTE SERVER AUTHORIZATION UNAUTHORIZED " + goldenColumns,
	} {
		checkColumns(t, args, runProxies(t, "shop", args), want)
	}
}

func checkColumns(t *testing.T, args string, r result, want string) {
	t.Helper()
	head, _, _ := strings.Cut(r.out, "\n")
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(head)); r.fault != nil || diff != "" {
		t.Errorf("%s: error %v, columns (-want +got):\n%s", args, r.fault, diff)
	}
}

// TestKeysAreLinkerds holds the keys of each command's JSON against those of `linkerd viz`, and those that are more.
func TestKeysAreLinkerds(t *testing.T) {
	const tcp = " tcp_open_connections tcp_read_bytes_rate tcp_write_bytes_rate"
	for args, want := range map[string]string{
		"stat deploy -o json":  "namespace kind name meshed " + goldenKeys + tcp,
		"stat po -o json":      "namespace kind name meshed status " + goldenKeys + tcp,
		"stat srv -o json":     "namespace kind name unauthorized " + goldenKeys + tcp,
		"edges deploy -o json": "src src_namespace dst dst_namespace client_id server_id no_tls_reason",
	} {
		checkKeys(t, args, shop(t).run(t, "shop", strings.Fields(args)...), want)
	}
	const numbers = " latencyMsP50 latencyMsP95 latencyMsP99"
	for args, want := range map[string]string{
		"stat-inbound deploy/api -o json": "namespace name server port route routeType successesRate rps" + numbers,
		"stat-outbound deploy/web -o json": "namespace name service serviceNamespace port route routeType backend " +
			"backendNamespace backendPort successRate rps" + numbers + " timeoutRate retryRate",
		"routes svc -o json": "route authority " + goldenKeys,
		"routes deploy/web --to svc/api -o json": "route authority effective_success effective_rps actual_success " +
			"actual_rps latency_ms_p50 latency_ms_p95 latency_ms_p99",
		"authz deploy/api -o json": "namespace route server authorization unauthorized " + goldenKeys,
	} {
		checkKeys(t, args, runProxies(t, "shop", args), want)
	}
}

// checkKeys compares the keys of all rows together.
func checkKeys(t *testing.T, args string, r result, want string) {
	t.Helper()
	var rows []map[string]any
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil {
		var tables map[string][]map[string]any // of routes: by resource
		if err := json.Unmarshal([]byte(r.out), &tables); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		for _, table := range tables {
			rows = append(rows, table...)
		}
	}
	var keys []string
	for _, row := range rows {
		for key := range row {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	wanted := strings.Fields(want)
	slices.Sort(keys)
	slices.Sort(wanted)
	if diff := cmp.Diff(wanted, keys); r.fault != nil || diff != "" {
		t.Errorf("%s: error %v, keys (-want +got):\n%s", args, r.fault, diff)
	}
}
