package strict

import (
	"fmt"
	"strings"
	"testing"
)

// httpRoute is an HTTPRoute in namespace strict, on Service echo unless parents say otherwise.
func httpRoute(name, parents, rules string) string {
	if parents == "" {
		parents = "{group: \"\", kind: Service, name: echo, port: 80}"
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: strict}
spec:
  parentRefs: [%s]
  rules: %s
---
`, name, parents, rules)
}

// answer is what a request ought to be answered with; version "" is the proxy, "*" any application.
type answer struct {
	status                  int
	version, path, location string
}

// exchange is a request of echo-v1 and its answer.
type exchange struct {
	request request
	want    answer
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		manifest  string
		exchanges []exchange
	}{
		"a prefix is rewritten by whole segments": {
			httpRoute("rewrite", "", `
  - matches: [{path: {type: PathPrefix, value: /one}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /two}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			[]exchange{{request{url: "http://echo/one/more?q=1"}, answer{200, "v1", "/two/more?q=1", ""}}},
		},
		"a prefix that is replaced by / leaves no double slash": {
			httpRoute("strip", "", `
  - matches: [{path: {type: PathPrefix, value: /strip}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			[]exchange{{request{url: "http://echo/strip/x"}, answer{200, "v1", "/x", ""}}},
		},
		"the whole path is rewritten": {
			httpRoute("full", "", `
  - filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /whole}}}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{{request{url: "http://echo/one/more"}, answer{200, "v2", "/whole", ""}}},
		},
		"a redirect keeps what it does not change": {
			httpRoute("redirect", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			[]exchange{{request{url: "http://echo/a/b?c=d"}, answer{302, "", "", "http://example.org/a/b?c=d"}}},
		},
		"a redirect to https leaves out its well-known port": {
			httpRoute("scheme", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]`),
			[]exchange{{request{url: "http://echo/"}, answer{301, "", "", "https://echo/"}}},
		},
		"a redirect replaces a prefix and a port": {
			httpRoute("port", "", `
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {port: 8083, statusCode: 308, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]`),
			[]exchange{{request{url: "http://echo/old/x"}, answer{308, "", "", "http://echo:8083/new/x"}}},
		},
		"what no rule matches is 404 and not the parent": {
			httpRoute("only", "", `
  - matches: [{path: {type: Exact, value: /known}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			[]exchange{{request{url: "http://echo/unknown"}, answer{status: 404}}},
		},
		"a backend that is not there is 500 and not the parent": {
			httpRoute("nowhere", "", `
  - backendRefs: [{name: nowhere, port: 80}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"a backend of another namespace needs a grant": {
			httpRoute("foreign", "", `
  - backendRefs: [{name: foreign, namespace: strict-other, port: 80}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"a grant opens it": {
			httpRoute("foreign", "", `
  - backendRefs: [{name: foreign, namespace: strict-other, port: 80}]`) + `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: strict, namespace: strict-other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: strict}]
  to: [{group: "", kind: Service, name: foreign}]
---
`,
			[]exchange{{request{url: "http://echo/path"}, answer{200, "client", "/path", ""}}},
		},
		"filters of a rule without a backend apply": {
			httpRoute("dead-redirect", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]
    backendRefs: []`),
			[]exchange{{request{url: "http://echo/x"}, answer{302, "", "", "http://example.org/x"}}},
		},
		"a mirror that is not there leaves the request alone": {
			httpRoute("mirror", "", `
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: nowhere, port: 80}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			[]exchange{{request{url: "http://echo/m"}, answer{200, "v1", "/m", ""}}},
		},
		"a filter that is not supported is never left out": {
			httpRoute("extension", "", `
  - filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"hostnames of a mesh route are ignored": {
			strings.Replace(httpRoute("hostnames", "", `
  - backendRefs: [{name: echo-v2, port: 80}]`), "spec:\n", "spec:\n  hostnames: [other.example]\n", 1),
			[]exchange{{request{url: "http://echo/"}, answer{200, "v2", "/", ""}}},
		},
		"group core is the core group": {
			httpRoute("core", `{group: core, kind: Service, name: echo, port: 80}`, `
  - backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{{request{url: "http://echo/"}, answer{200, "v2", "/", ""}}},
		},
		"a parent's section is a port by its name": {
			httpRoute("section", `{group: "", kind: Service, name: echo, sectionName: http-alt}`, `
  - backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{{request{url: "http://echo:8080/"}, answer{200, "v2", "/", ""}}},
		},
		"a route of a port is not that of another": {
			httpRoute("port", `{group: "", kind: Service, name: echo, port: 80}`, `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			[]exchange{
				{request{url: "http://echo/x"}, answer{302, "", "", "http://example.org/x"}},
				{request{url: "http://echo-v2/x"}, answer{200, "v2", "/x", ""}},
				{request{url: "http://echo:8080/x"}, answer{200, "*", "/x", ""}},
			},
		},
		"a Service is meant by its address and not by a Host": {
			httpRoute("address", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			[]exchange{
				{request{url: "http://echo/x", headers: []string{"Host: echo-v2"}}, answer{302, "", "", "http://example.org/x"}},
				{request{url: "http://echo-v2/x", headers: []string{"Host: echo"}}, answer{200, "v2", "/x", ""}},
			},
		},
		"a headless Service has no routes": {
			httpRoute("headless", `{group: "", kind: Service, name: headless}, {group: "", kind: Service, name: echo}`, `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			[]exchange{
				{request{url: "http://echo/x"}, answer{302, "", "", "http://example.org/x"}},
				{request{url: "http://headless:8080/x"}, answer{200, "v2", "/x", ""}},
			},
		},
		"a rule without backends sends to the parent itself": {
			httpRoute("bare", "", `
  - timeouts: {request: 10s}`),
			[]exchange{{request{url: "http://echo/x"}, answer{200, "*", "/x", ""}}},
		},
		"no weight at all is 500": {
			httpRoute("weightless", "", `
  - backendRefs: [{name: echo-v1, port: 80, weight: 0}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"a backend of another kind is 500": {
			httpRoute("bucket", "", `
  - backendRefs: [{group: example.org, kind: Bucket, name: x}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"rules with names are rules": {
			httpRoute("named", "", `
  - name: first
    matches: [{path: {type: Exact, value: /named}}]
    backendRefs: [{name: echo-v1, port: 80}]
  - matches: [{path: {type: Exact, value: /unnamed}}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{
				{request{url: "http://echo/named"}, answer{200, "v1", "/named", ""}},
				{request{url: "http://echo/unnamed"}, answer{200, "v2", "/unnamed", ""}},
				{request{url: "http://echo/other"}, answer{status: 404}},
			},
		},
		"a method is matched": {
			httpRoute("method", "", `
  - matches: [{method: POST}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{
				{request{url: "http://echo/", method: "POST"}, answer{200, "v2", "/", ""}},
				{request{url: "http://echo/"}, answer{status: 404}},
			},
		},
		"an expression matches the whole path": {
			httpRoute("expression", "", `
  - matches: [{path: {type: RegularExpression, value: "/v[0-9]+"}}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{
				{request{url: "http://echo/v42"}, answer{200, "v2", "/v42", ""}},
				{request{url: "http://echo/v42/x"}, answer{status: 404}},
			},
		},
		"a backend rewrites for itself": {
			httpRoute("own", "", `
  - matches: [{path: {type: PathPrefix, value: /one}}]
    backendRefs:
    - {name: echo-v2, port: 80, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /two}}}]}`),
			[]exchange{{request{url: "http://echo/one/x"}, answer{200, "v2", "/two/x", ""}}},
		},
		"a filter of a backend that is not supported is never left out": {
			httpRoute("magic", "", `
  - backendRefs: [{name: echo-v1, port: 80, filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}]`),
			[]exchange{{request{url: "http://echo/"}, answer{status: 500}}},
		},
		"a redirect of a backend": {
			httpRoute("elsewhere", "", `
  - backendRefs: [{name: echo-v1, port: 80, filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}]`),
			[]exchange{{request{url: "http://echo/x"}, answer{302, "", "", "http://example.org/x"}}},
		},
		"what takes longer than its timeout is 504": {
			httpRoute("slow", "", `
  - matches: [{path: {type: Exact, value: /request}}]
    timeouts: {request: 300ms}
    backendRefs: [{name: echo-v2, port: 80}]
  - matches: [{path: {type: Exact, value: /attempt}}]
    timeouts: {request: 5s, backendRequest: 300ms}
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{
				{request{url: "http://echo/request?delay=3s"}, answer{status: 504}},
				{request{url: "http://echo/attempt?delay=3s"}, answer{status: 504}},
				{request{url: "http://echo/request?delay=1ms"}, answer{200, "v2", "/request?delay=1ms", ""}},
			},
		},
		"more header matches win over fewer": {
			httpRoute("headers", "", `
  - matches: [{headers: [{name: a, value: "1"}]}]
    backendRefs: [{name: echo-v1, port: 80}]
  - matches: [{headers: [{name: A, value: "1"}, {name: b, type: RegularExpression, value: "[0-9]+"}]}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			[]exchange{{request{url: "http://echo/", headers: []string{"a: 1", "B: 42"}}, answer{200, "v2", "/", ""}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, c.manifest)
			eventually(t, func() error { return check(c.exchanges) })
		})
	}
}

func check(exchanges []exchange) error {
	for _, e := range exchanges {
		if e.request.from == "" {
			e.request.from = "echo-v1"
		}
		got, err := send(e.request)
		if err != nil {
			return err
		}
		g := answer{got[0].status, got[0].version, got[0].path, got[0].headers["location"]}
		if g.version != "" && e.want.version == "*" {
			g.version = "*"
		}
		if g != e.want {
			return fmt.Errorf("%s: got %+v, want %+v", e.request.url, g, e.want)
		}
	}
	return nil
}

// TestDeadShare sends half to a backend that is not there: that half fails, and the other does not.
func TestDeadShare(t *testing.T) {
	apply(t, httpRoute("half", "", `
  - backendRefs: [{name: nowhere, port: 80, weight: 50}, {name: echo-v1, port: 80, weight: 50}]`))
	eventually(t, func() error {
		got, err := send(request{from: "echo-v1", url: "http://echo/", count: 200})
		if err != nil {
			return err
		}
		count := map[int]int{}
		for _, r := range got {
			if r.status == 200 && r.version != "v1" {
				return fmt.Errorf("answered by %q, want v1", r.version)
			}
			count[r.status]++
		}
		if count[200]+count[500] != 200 || count[500] < 60 || count[500] > 140 {
			return fmt.Errorf("got %v, want about as many 500 as 200 and nothing else", count)
		}
		return nil
	})
}

// TestOlderRouteWins applies two routes that are equal but for their age, the older one with the name that would lose a
// tie.
func TestOlderRouteWins(t *testing.T) {
	apply(t, httpRoute("z-older", "", `
  - backendRefs: [{name: echo-v2, port: 80}]`))
	younger := httpRoute("a-younger", "", `
  - backendRefs: [{name: echo-v1, port: 80}]`)
	apply(t, younger)
	eventually(t, func() error { // ages differ by whole seconds
		ages, err := kubectl("", "-n", "strict", "get", "httproute", "z-older", "a-younger", "-o",
			"jsonpath={.items[*].metadata.creationTimestamp}")
		if list := strings.Fields(ages); err == nil && (len(list) != 2 || list[0] == list[1]) {
			err = fmt.Errorf("created at %q, want two seconds", list)
			if _, e := kubectl(younger, "replace", "--force", "-f", "-"); e != nil {
				err = e
			}
		}
		return err
	})
	eventually(t, func() error {
		return checkStatus("httproute/a-younger", 1, [][]condition{{{"Accepted", "True", "Accepted"}}})
	})
	eventually(t, func() error { return answersOnly(request{url: "http://echo/", count: 20}, "v2") })
}

// TestConsumerRoute governs the clients of its namespace, and no others.
func TestConsumerRoute(t *testing.T) {
	apply(t, strings.Replace(httpRoute("consumer", `{group: "", kind: Service, name: echo, namespace: strict, port: 80}`, `
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: consumer, value: "yes"}]}}]
    backendRefs: [{name: echo, namespace: strict, port: 80}]`), "namespace: strict}", "namespace: strict-other}", 1))
	for from, want := range map[string]string{"strict-other/client": "yes", "strict/echo-v1": ""} {
		eventually(t, func() error {
			got, err := send(request{from: from, url: "http://echo.strict/"})
			if err == nil && (got[0].status != 200 || got[0].seen["consumer"] != want) {
				err = fmt.Errorf("from %s: status %d, header consumer %q, want 200 and %q", from, got[0].status,
					got[0].seen["consumer"], want)
			}
			return err
		})
	}
}
