package viz

import (
	"strings"
	"testing"
)

// unseen are clients whose proxies are not asked, or that have none, and what is not an edge.
const unseen = `
request_total{direction="inbound",namespace="shop",deployment="api",pod="api-5d8f7c-a",tls="true",client_id="spiffe://cluster.local/ns/far/sa/batch"} 1
request_total{direction="inbound",namespace="shop",deployment="web",pod="web-5d8f7c-a",tls="no_identity",no_tls_reason="no_tls_from_remote"} 9
request_total{direction="inbound",namespace="shop",deployment="api",pod="api-5d8f7c-a",tls="no_identity",no_tls_reason="no_tls_from_remote",authz_kind="default",authz_name="probe"} 9
inbound_tcp_authz_allow_total{direction="inbound",namespace="shop",deployment="api",pod="api-5d8f7c-a",tls="opaque",no_tls_reason="no_tls_from_remote"} 2
tcp_open_total{direction="outbound",namespace="shop",deployment="web",pod="web-5d8f7c-a",peer="dst",dst_namespace="shop",dst_deployment="web",dst_pod="web-5d8f7c-a",tls="loopback",no_tls_reason="loopback"} 1
tcp_open_total{direction="outbound",namespace="shop",deployment="web",pod="web-5d8f7c-a",peer="dst",tls="no_identity",no_tls_reason="not_provided_by_service_discovery"} 5
tcp_open_total{direction="outbound",namespace="shop",deployment="web",pod="web-5d8f7c-a",peer="dst",dst_namespace="data",dst_statefulset="db",dst_pod="db-0",tls="true",server_id="spiffe://cluster.local/ns/data/sa/db"} 5
inbound_tcp_authz_allow_total{direction="inbound",namespace="data",statefulset="db",pod="db-0",tls="true",client_id="spiffe://cluster.local/ns/shop/sa/web"} 5
`

// TestEdges holds every column and every JSON key against its golden file.
func TestEdges(t *testing.T) {
	for name, args := range map[string]string{
		"deploy":      "deploy",
		"deploy-wide": "deploy -o wide",
		"deploy-json": "deploy -o json",
		"deploy-all":  "deploy -A -o wide",
		"deploy-web":  "deploy/web",
		"pods":        "po",
		"empty-json":  "ds -o json",
	} {
		t.Run(name, func(t *testing.T) {
			b := shop(t)
			b.source = series(t, unseen)
			golden(t, "edges-"+name+".txt", b.run(t, "shop", append([]string{"edges"}, strings.Fields(args)...)...))
		})
	}
}

func TestEdgesWithoutTraffic(t *testing.T) {
	if r := shop(t).run(t, "empty", "edges", "deploy"); r.fault != nil || r.out != "" || r.err != "No edges found.\n" {
		t.Errorf("stdout %q, stderr %q, error %v; want No edges found.", r.out, r.err, r.fault)
	}
}

func TestEdgesRefuses(t *testing.T) {
	for _, tt := range []struct{ namespace, args, want string }{
		{"shop", "", "name a resource"},
		{"shop", "svc", "edges does not work for services"},
		{"shop", "deplyo", `did you mean "deploy"?`},
		{"shop", "deploy/wep", `deployment "wep": not found in namespace "shop"; did you mean "web"?`},
		{"shob", "deploy", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy -o yaml", `output "yaml": want table, wide or json`},
	} {
		r := shop(t).run(t, tt.namespace, append([]string{"edges"}, strings.Fields(tt.args)...)...)
		if r.fault == nil || !strings.Contains(r.fault.Error(), tt.want) {
			t.Errorf("edges %s in %s: error %v; want %q", tt.args, tt.namespace, r.fault, tt.want)
		}
	}
}

func TestEdgesWritesHostileNames(t *testing.T) {
	b := shop(t)
	b.source = series(t,
		`tcp_open_total{direction="outbound",namespace="shop",deployment="web",peer="dst",tls="no_identity",`+
			`dst_namespace="shop",dst_deployment="a\"b\n`+"\x1b[31m\u202e"+`",no_tls_reason="why\n`+"\x1b"+`"} 1`+"\n")
	golden(t, "edges-hostile.txt", b.run(t, "shop", "edges", "deploy"))
	golden(t, "edges-hostile-json.txt", b.run(t, "shop", "edges", "deploy", "-o", "json"))
}
