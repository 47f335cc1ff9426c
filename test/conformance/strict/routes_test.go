package strict

import (
	"encoding/json"
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

func TestAnswers(t *testing.T) {
	type want struct {
		status                  int
		version, path, location string
	}
	for name, c := range map[string]struct {
		manifest string
		request  request
		want     want
	}{
		"a prefix is rewritten by whole segments": {
			httpRoute("rewrite", "", `
  - matches: [{path: {type: PathPrefix, value: /one}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /two}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			request{url: "http://echo/one/more?q=1"}, want{200, "v1", "/two/more?q=1", ""},
		},
		"a prefix that is replaced by / leaves no double slash": {
			httpRoute("strip", "", `
  - matches: [{path: {type: PathPrefix, value: /strip}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			request{url: "http://echo/strip/x"}, want{200, "v1", "/x", ""},
		},
		"the whole path is rewritten": {
			httpRoute("full", "", `
  - filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /whole}}}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			request{url: "http://echo/one/more"}, want{200, "v2", "/whole", ""},
		},
		"a redirect keeps what it does not change": {
			httpRoute("redirect", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			request{url: "http://echo/a/b?c=d"}, want{302, "", "", "http://example.org/a/b?c=d"},
		},
		"a redirect to https leaves out its well-known port": {
			httpRoute("scheme", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]`),
			request{url: "http://echo/"}, want{301, "", "", "https://echo/"},
		},
		"a redirect replaces a prefix and a port": {
			httpRoute("port", "", `
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {port: 8083, statusCode: 308, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]`),
			request{url: "http://echo/old/x"}, want{308, "", "", "http://echo:8083/new/x"},
		},
		"what no rule matches is 404 and not the parent": {
			httpRoute("only", "", `
  - matches: [{path: {type: Exact, value: /known}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			request{url: "http://echo/unknown"}, want{status: 404},
		},
		"a backend that is not there is 500 and not the parent": {
			httpRoute("nowhere", "", `
  - backendRefs: [{name: nowhere, port: 80}]`),
			request{url: "http://echo/"}, want{status: 500},
		},
		"a backend of another namespace needs a grant": {
			httpRoute("foreign", "", `
  - backendRefs: [{name: foreign, namespace: strict-other, port: 80}]`),
			request{url: "http://echo/"}, want{status: 500},
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
			request{url: "http://echo/path"}, want{200, "client", "/path", ""},
		},
		"filters of a rule without a backend apply": {
			httpRoute("dead-redirect", "", `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]
    backendRefs: []`),
			request{url: "http://echo/x"}, want{302, "", "", "http://example.org/x"},
		},
		"a mirror that is not there leaves the request alone": {
			httpRoute("mirror", "", `
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: nowhere, port: 80}}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			request{url: "http://echo/m"}, want{200, "v1", "/m", ""},
		},
		"a filter that is not supported is never left out": {
			httpRoute("extension", "", `
  - filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]
    backendRefs: [{name: echo-v1, port: 80}]`),
			request{url: "http://echo/"}, want{status: 500},
		},
		"hostnames of a mesh route are ignored": {
			strings.Replace(httpRoute("hostnames", "", `
  - backendRefs: [{name: echo-v2, port: 80}]`), "spec:\n", "spec:\n  hostnames: [other.example]\n", 1),
			request{url: "http://echo/"}, want{200, "v2", "/", ""},
		},
		"group core is the core group": {
			httpRoute("core", `{group: core, kind: Service, name: echo, port: 80}`, `
  - backendRefs: [{name: echo-v2, port: 80}]`),
			request{url: "http://echo/"}, want{200, "v2", "/", ""},
		},
		"a parent's section is a port by its name": {
			httpRoute("section", `{group: "", kind: Service, name: echo, sectionName: http-alt}`, `
  - backendRefs: [{name: echo-v2, port: 80}]`),
			request{url: "http://echo:8080/"}, want{200, "v2", "/", ""},
		},
		"a route of a port is not that of another": {
			httpRoute("alt", `{group: "", kind: Service, name: echo-v1, port: 80}`, `
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]`),
			request{url: "http://echo-v2/"}, want{200, "v2", "/", ""},
		},
		"an equal route that is older wins": {
			httpRoute("a-first", "", `
  - backendRefs: [{name: echo-v1, port: 80}]`) + httpRoute("b-second", "", `
  - backendRefs: [{name: echo-v2, port: 80}]`),
			request{url: "http://echo/"}, want{200, "v1", "/", ""},
		},
		"more header matches win over fewer": {
			httpRoute("headers", "", `
  - matches: [{headers: [{name: a, value: "1"}]}]
    backendRefs: [{name: echo-v1, port: 80}]
  - matches: [{headers: [{name: A, value: "1"}, {name: b, type: RegularExpression, value: "[0-9]+"}]}]
    backendRefs: [{name: echo-v2, port: 80}]`),
			request{url: "http://echo/", headers: []string{"a: 1", "B: 42"}}, want{200, "v2", "/", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.from = "echo-v1"
			apply(t, c.manifest)
			eventually(t, func() error {
				got, err := send(c.request)
				if err != nil {
					return err
				}
				if g := (want{got[0].status, got[0].version, got[0].path, got[0].location}); g != c.want {
					return fmt.Errorf("%s: got %+v, want %+v", c.request.url, g, c.want)
				}
				return nil
			})
		})
	}
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

// TestConsumerRoute governs the clients of its namespace, and no others.
func TestConsumerRoute(t *testing.T) {
	apply(t, strings.Replace(httpRoute("consumer", `{group: "", kind: Service, name: echo, namespace: strict, port: 80}`, `
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: consumer, value: "yes"}]}}]
    backendRefs: [{name: echo, namespace: strict, port: 80}]`), "namespace: strict}", "namespace: strict-other}", 1))
	for from, want := range map[string]string{"strict-other/client": "yes", "strict/echo-v1": ""} {
		eventually(t, func() error {
			got, err := send(request{from: from, url: "http://echo.strict/"})
			if err == nil && (got[0].status != 200 || got[0].seen["consumer"] != want) {
				err = fmt.Errorf("from %s: status %d, header consumer %q, want 200 and %q", from, got[0].status, got[0].seen["consumer"], want)
			}
			return err
		})
	}
}

func TestStatuses(t *testing.T) {
	type condition struct{ kind, status, reason string }
	for name, c := range map[string]struct {
		parents, rules string
		want           [][]condition // of each parent
	}{
		"a route that holds": {
			"", `[{backendRefs: [{name: echo-v1, port: 80}]}]`,
			[][]condition{{{"Accepted", "True", "Accepted"}, {"ResolvedRefs", "True", "ResolvedRefs"}}},
		},
		"a backend that is not there": {
			"", `[{backendRefs: [{name: nowhere, port: 80}]}]`,
			[][]condition{{{"Accepted", "True", "Accepted"}, {"ResolvedRefs", "False", "BackendNotFound"}}},
		},
		"a backend that is no Service": {
			"", `[{backendRefs: [{group: example.org, kind: Bucket, name: x}]}]`,
			[][]condition{{{"ResolvedRefs", "False", "InvalidKind"}}},
		},
		"a backend that was not granted": {
			"", `[{backendRefs: [{name: foreign, namespace: strict-other, port: 80}]}]`,
			[][]condition{{{"ResolvedRefs", "False", "RefNotPermitted"}}},
		},
		"a filter that is not supported": {
			"", `[{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}]`,
			[][]condition{{{"Accepted", "False", "UnsupportedValue"}}},
		},
		"a headless parent": {
			`{group: "", kind: Service, name: headless, port: 80}`, `[{backendRefs: [{name: echo-v1, port: 80}]}]`,
			[][]condition{{{"Accepted", "False", "NoMatchingParent"}}},
		},
		"every parent has its own": {
			`{group: "", kind: Service, name: echo-v1, port: 80}, {group: "", kind: Service, name: gone, port: 80}`, `[{backendRefs: [{name: echo-v2, port: 80}]}]`,
			[][]condition{{{"Accepted", "True", "Accepted"}}, {{"Accepted", "False", "NoMatchingParent"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, httpRoute("status", c.parents, c.rules))
			eventually(t, func() error {
				parents, generation, err := statuses("status")
				if err != nil {
					return err
				}
				if len(parents) != len(c.want) {
					return fmt.Errorf("%d parents have a status, want %d", len(parents), len(c.want))
				}
				for i, conditions := range c.want {
					for _, want := range conditions {
						got := parents[i].Conditions.find(want.kind)
						explained := want.status == "True" || got.Message != ""
						if got.Status != want.status || got.Reason != want.reason || got.ObservedGeneration != generation || !explained {
							return fmt.Errorf("parent %d: %s is %+v, want %s %s of generation %d, explained if it does not hold", i, want.kind, got,
								want.status, want.reason, generation)
						}
					}
				}
				return nil
			})
		})
	}
}

type conditionList []struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

func (l conditionList) find(kind string) (c struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}) {
	for _, c := range l {
		if c.Type == kind {
			return c
		}
	}
	return c
}

type parentStatus struct {
	ControllerName string
	Conditions     conditionList
}

// statuses returns what stands in the route's status, in the order of its parents.
func statuses(route string) ([]parentStatus, int64, error) {
	out, err := kubectl("", "-n", "strict", "get", "httproute", route, "-o", "json")
	if err != nil {
		return nil, 0, err
	}
	var object struct {
		Metadata struct{ Generation int64 }
		Status   struct{ Parents []parentStatus }
	}
	err = json.Unmarshal([]byte(out), &object)
	return object.Status.Parents, object.Metadata.Generation, err
}
