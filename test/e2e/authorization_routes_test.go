package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// route is an HTTPRoute of the cell's HTTP Server, with rules in flow style, and those who may use it.
func routeFor(version, name, rules, refs string) string {
	group, _, _ := strings.Cut(version, "/")
	return fmt.Sprintf("apiVersion: %s\nkind: HTTPRoute\nmetadata: {name: \"{cell}-%s\", namespace: %s}\n"+
		"spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: \"{cell}-http\"}], rules: [%s]}\n---\n", version,
		name, guardedNS, rules) +
		policyFor("{cell}-"+name, group, "HTTPRoute", refs)
}

const (
	ownRoutes     = "policy.linkerd.io/v1beta3"
	gatewayRoutes = "gateway.networking.k8s.io/v1"
	webAlone      = `{identities: ["spiffe://cluster.local/ns/guarded/sa/web"]}`
	anywhere      = `{cidr: 0.0.0.0/0}, {cidr: "::/0"}`
)

// guardedRoutes has a route that everybody may GET, /public, and one for web alone, /admin.
func guardedRoutes(version string) string {
	return routeFor(version, "public", "{matches: [{path: {type: PathPrefix, value: /public}, method: GET}]}", "["+where+
		"]") +
		routeFor(version, "admin", "{matches: [{path: {type: PathPrefix, value: /admin}}]}", "["+who+"]") +
		identities(webAlone) + networks(anywhere)
}

// wideRoutes has a route for everything that is everybody's, and one for the match that is web's alone.
func wideRoutes(match string) string {
	return routeFor(gatewayRoutes, "wide", "{matches: [{path: {type: PathPrefix, value: /}}]}", "["+where+"]") +
		routeFor(gatewayRoutes, "lock", "{matches: ["+match+"]}", "["+who+"]") + identities(webAlone) + networks(anywhere)
}

// sees is an attempt by each of the callers.
func sees(how, target, want string, callers ...client) (list []attempt) {
	for _, c := range callers {
		list = append(list, attempt{by: c, how: how, target: target, want: want})
	}
	return list
}

// routeCells guard by route.
func routeCells() []*cell {
	calls := `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: "{cell}-calls", namespace: ` + guardedNS + `}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: "{cell}-grpc"}]
  rules: [{matches: [{method: {service: grpc.testing.TestService, method: EmptyCall}}]}]
---
` + policyFor("{cell}-calls", "gateway.networking.k8s.io", "GRPCRoute", "["+who+"]") + identities(webAlone)
	return []*cell{
		{name: "routes", policies: guardedRoutes(ownRoutes),
			attempts: attempts(basics("routes"), spellings(), pipelines(), claims(), oddities())},
		{name: "gateway-routes", policies: guardedRoutes(gatewayRoutes), attempts: basics("gateway-routes")},
		{name: "grpc-routes", policies: calls, attempts: []attempt{
			{by: web, how: "grpc", want: "grpc 0"},
			{by: web2, how: "grpc", want: "grpc 7", names: "GRPCRoute guarded/grpc-routes-calls"},
			{by: stranger, how: "grpc", want: "grpc 7"},
			{by: web, how: "grpc", target: "/grpc.testing.TestService/UnaryCall", want: "grpc 5"},
			{by: web2, how: "grpc", target: "/grpc.testing.TestService/UnaryCall", want: "grpc 5"},
			{by: stranger, how: "grpc", target: "/other" + emptyCall, want: "grpc 5"},
		}},
		{name: "server-and-routes", policies: guardedRoutes(ownRoutes) +
			admits(`{meshTLS: {serviceAccounts: [{name: web2}]}}`), attempts: attempts(
			sees("h1", "/admin", "200", web, web2), sees("h1", "/admin", "403", dotted, stranger),
			sees("h1", "/else", "404", web2, stranger))},
		{name: "wide-route", policies: wideRoutes("{path: {type: PathPrefix, value: /admin}}"), attempts: attempts(
			sees("h1", "/admin", "200", web), sees("h1", "/admin", "403", web2, stranger),
			sees("h1", "/else/x;y=1", "200", web2, stranger),
			// the application cleans its paths
			sees("h1", "/admin;x", "400", web2, stranger), sees("h1", "//else/admin", "400", web2, stranger),
			sees("h1", "//else", "307", stranger),
			sees("h2", "/;x/admin", "400", web2, stranger),
			[]attempt{{by: stranger, how: "raw", raw: ask("CONNECT a:80", "a:80"), want: "403"},
				{by: stranger, how: "raw", raw: ask("delete /admin", "g"), want: "400"}})},
		// A match that is too large to be compiled, which nobody refuses at admission, closes what the rest of it says.
		{name: "mistaken-route", policies: wideRoutes(
			fmt.Sprintf("{method: DELETE, path: {type: RegularExpression, value: \"/admin/%s\"}}",
				strings.Repeat("[a-z]{1000}", 60))),
			attempts: attempts(sees("h1", "/admin", "200", web, stranger),
				sees("h1", "DELETE /admin", "500", web, web2, stranger), sees("h2", "DELETE /else", "500", web, stranger))},
		// Bytes would pass the routes by: a port that is read as bytes and has routes takes nobody.
		{name: "opaque-routes", spec: map[string]string{"http": "proxyProtocol: opaque"}, policies: guardedRoutes(ownRoutes),
			attempts: attempts(sees("h1", "/public", "reset", web, stranger),
				[]attempt{{by: stranger, how: "raw", raw: ask("GET /public", "g"), want: "reset"}})},
		// The pod itself says that the port is opaque; its Server does not.
		{name: "opaque-by-pod", policies: guardedRoutes(ownRoutes), attempts: attempts(
			sees("h1", "/admin", "reset", web2, stranger), sees("h2", "/admin", "reset", stranger))},
		{name: "opaque-by-pod-and-server", spec: map[string]string{"http": "proxyProtocol: HTTP/1"},
			policies: guardedRoutes(ownRoutes), attempts: attempts(
				sees("h1", "/admin", "403", stranger), sees("h1", "/admin", "200", web))},
		{name: "probed", attempts: attempts(
			sees("h1", "/healthz?verbose=1", "200", node), sees("h1", "/healthz?x=1&y=/../", "403", node),
			sees("h2", "/healthz?verbose=1", "200", node),
			at("pod6", sees("h1", "/healthz?verbose=1", "200", node)), sees("h1", "/healthz", "403", node),
			sees("h1", "/healthz?verbose=1&x", "403", node),
			sees("h1", "POST /healthz?verbose=1", "403", node), sees("h1", "/healthz/?verbose=1", "403", node),
			sees("h1", "/healthz/../admin", "403", node),
			sees("h1", "/health%7a?verbose=1", "403", node), sees("h1", "/admin?/healthz", "403", node),
			sees("h1", "//healthz?verbose=1", "403", node),
			sees("h1", "/healthz?verbose=1", "403", web, stranger),
			at("pod4", sees("h1", "/healthz?verbose=1", "403", stranger)))},
		{name: "probed-route", policies: routeFor(ownRoutes, "all", "{matches: [{path: {type: PathPrefix, value: /}}]}", "["+
			who+"]") + identities(webAlone), attempts: attempts(
			sees("h1", "/alive", "403", node, stranger), sees("h1", "/alive", "200", web))},
		{name: "probed-beside-route", policies: guardedRoutes(ownRoutes), attempts: attempts(
			sees("h1", "/alive", "200", node), sees("h1", "POST /alive", "404", node),
			sees("h1", "/alive", "404", stranger, web))},
	}
}

// basics are what routes let in and keep out.
func basics(cell string) []attempt {
	denied := func(how, target string, c client) attempt {
		return attempt{by: c, how: how, target: target, want: "403", names: "HTTPRoute guarded/" + cell + "-admin"}
	}
	return attempts(
		sees("h1", "/public", "200", web, web2, stranger, node), sees("h2", "/public/x?y=/admin", "200", web, web2, stranger),
		at("pod6", sees("h1", "/public", "200", stranger, web2)), at("pod6", sees("h1", "/admin", "200", web)),
		at("pod6", sees("h1", "/admin", "403", web2, stranger)),
		sees("h1", "POST /public", "404", web, stranger), sees("h1", "/publicity", "404", web2, stranger),
		sees("h1", "/", "404", web, stranger),
		sees("h1", "/admin", "200", web), sees("h2", "/admin/x?y=/public", "200", web), sees("h1", "POST /admin", "200", web),
		[]attempt{denied("h1", "/admin", web2), denied("h2", "/admin/x", evil), denied("h1", "/admin?/public", dotted),
			denied("h1", "POST /admin", web2)},
		sees("h1", "/admin", "403", stranger, node), sees("h2", "/admin", "403", stranger),
		at("pod4", sees("h1", "/admin", "403", stranger)),
	)
}

// spellings are paths that some servers read as /admin, and some mesh read as /public.
func spellings() (list []attempt) {
	for target, want := range map[string]string{
		"/%61dmin":                  "403",
		"//admin":                   "400",
		"///admin//x":               "400",
		"/admin/":                   "403",
		"/Admin":                    "404", // paths are case-sensitive
		"/%41dmin":                  "404",
		"/admin;x=1":                "404",
		"/public;x/admin":           "404",
		"/public/../admin":          "400",
		"/public/./admin":           "400",
		"/public/..":                "400",
		"/public//../admin":         "400",
		"/public/%2e%2e/admin":      "400",
		"/public/%2E%2E/admin":      "400",
		"/public/.%2e/admin":        "400",
		"/public/..;/admin":         "400",
		"/public/..;x=1/admin":      "400",
		"/public/%2e%2e;x/admin":    "400",
		"/public%2fx":               "400",
		"/public%2F..%2Fadmin":      "400",
		"/public%5c..%5cadmin":      "400",
		"/public%252e%252e/admin":   "400",
		"/public%252Fadmin":         "400",
		"/public%00/admin":          "400",
		"/public%0d%0aX:%20y/admin": "400",
		"/public%zz":                "400",
		"/admin%c0%af":              "400", // over-long
		"/public/%c0%ae%c0%ae/x":    "400",
		"/public/%ff":               "400",
	} {
		list = append(list, sees("h1", target, want, stranger)...)
		list = append(list, sees("h2", target, want, stranger)...)
		list = append(list, sees("h1", target, want, web2)...)
	}
	for line, want := range map[string]string{
		`GET /public\..\admin`:                    "400",
		"GET http://cell.example/admin":           "403",
		"GET http://cell.example/public":          "200",
		"GET http://cell.example/public/../admin": "400",
		"GET http://cell.example//admin":          "400",
		"GET HTTP://CELL.EXAMPLE/admin":           "403",
		// the target's host counts, RFC 9112 §3.2.2; policy looks at the path
		"GET http://public.example/admin?http://cell.example/public": "403",
		"get /public":        "400", // methods are case-sensitive, and not every application knows
		"OPTIONS *":          "404",
		"GET public":         "400",
		"GET /admin#/public": "400",
	} {
		list = append(list, attempt{by: stranger, how: "raw", raw: ask(line, "cell.example"), want: want})
	}
	return list
}

// ask is the last request of an HTTP/1 connection.
func ask(line, host string, fields ...string) string {
	return next(line, host, append(fields, "Connection: close")...)
}

// next is a request that others follow.
func next(line, host string, fields ...string) string {
	return strings.Join(append([]string{line + " HTTP/1.1", "Host: " + host}, fields...), "\r\n") + "\r\n\r\n"
}

// pipelines send requests without waiting for answers: each is decided on for itself, and no body is a request.
func pipelines() (list []attempt) {
	public, admin, last := next("GET /public", "g"), next("GET /admin", "g"), ask("GET /public/last", "g")
	smuggled := "GET /admin HTTP/1.1\r\nHost: g\r\n\r\n"
	body := next("GET /public", "g", fmt.Sprintf("Content-Length: %d", len(smuggled))) + smuggled
	chunked := next("GET /public", "g", "Transfer-Encoding: chunked") +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	both := next("POST /public", "g", "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + admin
	add := func(raw, want string, by ...client) {
		for _, c := range by {
			list = append(list, attempt{by: c, how: "raw", raw: raw, want: want})
		}
	}
	add(public+admin+last, "200 403 200", web2, stranger)
	add(public+admin+last, "200 200 200", web)
	add(admin+public+admin+last, "403 200 403 200", web2, stranger)
	add(strings.Repeat(public, 5)+admin+strings.Repeat(public, 5)+last, "200 200 200 200 200 403 200 200 200 200 200 200",
		stranger, web2)
	add(public+next("GET /public/../admin", "g")+last, "200 400 200", stranger)
	add(body+last, "200 200", web2, stranger)
	add(chunked+last, "200 200", web2, stranger)
	add(both, "400", web2, stranger)
	add(public+"\r\n"+admin+last, "200 403 200", stranger)
	add("\r\n"+public+last, "200 200", stranger) // RFC 9112 §2.2
	add("GET /admin HTTP/1.0\r\n\r\n", "403", stranger)
	return list
}

// oddities try to make a connection to a port without a declared protocol opaque, or are requests as only some servers
// read them.
func oddities() (list []attempt) {
	admin := ask("GET /admin", "g")
	for raw, want := range map[string]string{
		"{stall}" + admin:                          "403",
		"G{stall}" + admin[1:]:                     "403",
		"GET{stall}" + admin[3:]:                   "403",
		"GET /ad{stall}" + admin[7:]:               "403",
		"\r\n{stall}" + admin:                      "403",
		"\r\n\r\n" + admin:                         "403",
		"PING\r\n{stall}" + admin:                  "reset",
		"get key\r\n{stall}" + admin:               "reset",
		"\x00{stall}" + admin:                      "reset",
		" " + admin:                                "400",
		"GET\t/admin\tHTTP/1.1\r\nHost: g\r\n\r\n": "400",
		"GET /admin http/1.1\r\nHost: g\r\n\r\n":   "400",
		"GET /admin HTTP/9.9\r\nHost: g\r\n\r\n":   "400",
		"GET /admin\r\n\r\n":                       "400",
		"GET /admin HTTP/1.1\nHost: g\n\n":         "400",
		"GET / http{stall}/1.1\r\nHost: g\r\n\r\n": "400",
		"pri * http/2.0\r\n\r\nsm\r\n\r\n":         "400",
	} {
		for _, c := range []client{stranger, web2} {
			list = append(list, attempt{by: c, how: "raw", raw: raw, want: want})
		}
	}
	return list
}

// claims say to be somebody or somewhere else.
func claims() (list []attempt) {
	for _, host := range []string{"public.example", "localhost", "127.0.0.1:8080", "guarded.guarded.svc.cluster.local",
		"[::1]", "admin"} {
		list = append(list, attempt{by: stranger, how: "raw", raw: next("GET /admin", host) + ask("GET /public", host),
			want: "403 200"},
			attempt{by: web2, how: "raw", raw: next("GET /admin", host) + ask("GET /public", host), want: "403 200"})
	}
	for _, field := range []string{
		"l5d-client-id: spiffe://cluster.local/ns/guarded/sa/web",
		"L5D_Client_ID: web.guarded.serviceaccount.identity.tulle.cluster.local",
		"X-Original-URL: /public", "X-Rewrite-URL: /public", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1",
		"X-HTTP-Method-Override: GET",
		"X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/guarded/sa/web", "User-Agent: kube-probe/1.36",
		"Authorization: Bearer web",
		"l5d-dst-override: routes.guarded:80",
	} {
		list = append(list, attempt{by: stranger, how: "raw", raw: ask("GET /admin", "g", field), want: "403"},
			attempt{by: web2, how: "raw", raw: ask("GET /admin", "g", field), want: "403"})
	}
	upgrade := []string{"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"}
	return append(list,
		attempt{by: stranger, how: "raw", raw: "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + ask("GET /admin", "g"),
			want: "reset"},
		attempt{by: stranger, how: "raw", raw: next("GET /public", "g", upgrade...) + ask("GET /admin", "g"),
			want: "200 403"},
		attempt{by: stranger, how: "raw", raw: ask("GET /admin", "g", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), want: "403"},
	)
}

// probes renders what the kubelet asks the pod for: it has to be ready, and to stay alive however often that other
// probe fails.
func probes(cells []*cell) string {
	probe := func(kind, cell, path, more string) string {
		return fmt.Sprintf("        %s: {httpGet: {path: %q, port: %d}, periodSeconds: 1%s}\n", kind, path, 8100+
			indexOf(cells, cell), more)
	}
	return probe("readinessProbe", "probed", "/healthz?verbose=1", "") +
		probe("startupProbe", "probed-beside-route", "/alive", ", failureThreshold: 120") +
		probe("livenessProbe", "probed-route", "/alive", ", failureThreshold: 100000")
}

// testProbes expects that the pod is ready and was never restarted, and that no policy but the one that is meant to
// kept a probe out.
func (g *guarded) testProbes(t *testing.T) {
	eventually(t, 20*time.Second, func() error {
		got := mustKubectl(t, "-n", guardedNS, "get", "pods", "-l", "app=guarded", "-o",
			`jsonpath={range .items[*]}{.status.containerStatuses[?(@.name=="app")].ready} {.status.containerStatuses[?(@.name=="app")].restartCount}{end}`)
		if got != "true 0" {
			return fmt.Errorf("the pod is ready and has restarted: %s, want true 0", got)
		}
		return nil
	})
	const answered = " probe failed: HTTP probe failed with statuscode: 40"
	events := mustKubectl(t, "-n", guardedNS, "get", "events", "--field-selector=reason=Unhealthy", "-o",
		"jsonpath={.items[*].message}")
	if strings.Contains(events, "Readiness"+answered) || strings.Contains(events, "Startup"+answered) {
		t.Errorf("policy kept a probe out: %s", events)
	}
	if !strings.Contains(events, "Liveness"+answered+"3") {
		t.Errorf("a route did not take the liveness probe's place: %s", events)
	}
}
