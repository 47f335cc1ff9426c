package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestConvertGolden converts what people find in tutorials and in other meshes: every row of the compatibility
// contract's table of manifests that are wrong. Exit code 3 says that something has no counterpart, 1 that the text is
// no manifest.
func TestConvertGolden(t *testing.T) {
	codes := map[string]int{"y10-istio": codeLossy, "y11-flat": 1, "y12-annotations": codeLossy, "y14-denyall": codeLossy}
	files, err := filepath.Glob("testdata/convert/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, "", "convert", file)
			if r.code != codes[name] {
				t.Errorf("exit code %d, want %d", r.code, codes[name])
			}
			golden(t, "convert/"+name+".txt", r)
		})
	}
}

func TestConvertIsDone(t *testing.T) {
	for _, file := range []string{"y01-y02-server", "y06-split", "y13-identity"} {
		first := runCLI(t, noCluster, "", "convert", "testdata/convert/"+file+".yaml")
		again := runCLI(t, noCluster, first.out, "convert", "-")
		if again.code != 0 || again.out != first.out {
			t.Errorf("%s: converting the output changes it: exit code %d\n%s", file, again.code, again.out)
		}
	}
}

// TestConvertTypes covers values of another type than the definition of the kind says: read as they are, they would
// change their meaning.
func TestConvertTypes(t *testing.T) {
	object := func(group, kind, spec string) string {
		return "kind: Service\nmetadata: {name: before}\n---\napiVersion: " + group + "\nkind: " + kind +
			"\nmetadata: {name: a, namespace: shop}\nspec: " + spec + "\n"
	}
	rule := func(fields string) string {
		return object("networking.istio.io/v1", "VirtualService", "{hosts: [web], http: [{"+fields+"}]}")
	}
	match := func(condition string) string { return rule("match: [{" + condition + "}]") }
	destinationRule := func(fields string) string {
		return object("networking.istio.io/v1", "DestinationRule", "{host: web, "+fields+"}")
	}
	policy := func(fields string) string {
		return object("security.istio.io/v1", "AuthorizationPolicy", "{"+fields+"}")
	}
	peers := func(fields string) string {
		return object("security.istio.io/v1", "PeerAuthentication", "{"+fields+"}")
	}
	const boolean = `want a string: write "on"`
	for name, test := range map[string]struct{ manifest, want string }{
		"exact: on": {match("headers: {x: {exact: on}}"),
			`document 2, line 7: spec.http[0].match[0].headers.x.exact: on is the boolean true, want a string: write "on"`},
		"exact: y": {match("headers: {x: {exact: y}}"),
			`exact: y is the boolean true, want a string: write "y"`},
		"regex: 1.0": {match("queryParams: {v: {regex: 1.0}}"),
			`queryParams.v.regex: 1.0 is a number, want a string: write "1.0"`},
		"prefix: {}":             {match("uri: {prefix: {}}"), "uri.prefix: is an object, want a string"},
		"method: GET":            {match("method: GET"), "method: GET is a string, want an object"},
		"a header without a way": {match("headers: {x: y}"), "headers.x: y is a string, want an object"},
		"ignoreUriCase: 'true'":  {match("ignoreUriCase: 'true'"), "ignoreUriCase: true is a string, want a boolean"},
		"match: {}":              {rule("match: {uri: {exact: /}}"), "spec.http[0].match: is an object, want a list"},
		"weight: fifty": {rule("route: [{destination: {host: web}, weight: fifty}]"),
			"spec.http[0].route[0].weight: fifty is a string, want a whole number"},
		"weight: '50'": {rule("route: [{destination: {host: web}, weight: '50'}]"),
			"weight: 50 is a string, want a whole number"},
		"weight: 1.5": {rule("route: [{destination: {host: web}, weight: 1.5}]"),
			"weight: 1.5 is a number, want a whole number"},
		"port: http": {rule("route: [{destination: {host: web, port: {number: http}}}]"),
			"port.number: http is a string, want a whole number"},
		"host: on": {rule("route: [{destination: {host: on}}]"),
			"route[0].destination.host: on is the boolean true, " + boolean},
		"subset: 1": {rule("route: [{destination: {host: web, subset: 1}}]"),
			`subset: 1 is a number, want a string: write "1"`},
		"timeout: 3": {rule("timeout: 3"),
			"spec.http[0].timeout: 3 is a number, want a duration in whole milliseconds, such as 3s"},
		"timeout: '3'":   {rule("timeout: '3'"), "timeout: 3 is a string, want a duration"},
		"timeout: 100us": {rule("timeout: 100us"), "timeout: 100us is a string, want a duration"},
		"timeout: -1s":   {rule("timeout: -1s"), "timeout: -1s is a string, want a duration"},
		"attempts: many": {rule("retries: {attempts: many}"),
			"retries.attempts: many is a string, want a whole number"},
		"perTryTimeout: 2": {rule("retries: {attempts: 1, perTryTimeout: 2}"),
			"perTryTimeout: 2 is a number, want a duration"},
		"retryOn: 503":  {rule("retries: {retryOn: 503}"), `retryOn: 503 is a number, want a string: write "503"`},
		"fixedDelay: 5": {rule("fault: {delay: {fixedDelay: 5}}"), "fixedDelay: 5 is a number, want a duration"},
		"httpStatus: down": {rule("fault: {abort: {httpStatus: down}}"),
			"httpStatus: down is a string, want a whole number"},
		"percentage": {rule("fault: {abort: {percentage: {value: half}}}"),
			"percentage.value: half is a string, want a number"},
		"a header that is set": {rule("headers: {request: {set: {x: on}}}"),
			"headers.request.set.x: on is the boolean true, " + boolean},
		"a header to remove": {rule("headers: {request: {remove: x}}"),
			"headers.request.remove: x is a string, want a list"},
		"redirectCode: found": {rule("redirect: {redirectCode: found}"),
			"redirectCode: found is a string, want a whole number"},
		"rewrite: 1": {rule("rewrite: {uri: 1}"), `rewrite.uri: 1 is a number, want a string: write "1"`},
		"mirror: on": {rule("mirror: {host: on}"), "mirror.host: on is the boolean true"},
		"allowCredentials: 1": {rule("corsPolicy: {allowCredentials: 1}"),
			"allowCredentials: 1 is a number, want a boolean"},
		"maxAge: 5":          {rule("corsPolicy: {maxAge: 5}"), "maxAge: 5 is a number, want a duration"},
		"the name of a rule": {rule("name: on"), "spec.http[0].name: on is the boolean true"},
		"hosts: web": {object("networking.istio.io/v1", "VirtualService", "{hosts: web}"),
			"spec.hosts: web is a string, want a list"},
		"a port of tcp": {object("networking.istio.io/v1", "VirtualService",
			"{hosts: [web], tcp: [{match: [{port: http}]}]}"), "spec.tcp[0].match[0].port: http is"},
		"labels of a subset": {destinationRule("subsets: [{name: a, labels: {v: 1}}]"),
			`spec.subsets[0].labels.v: 1 is a number, want a string: write "1"`},
		"the name of a subset": {destinationRule("subsets: [{name: on}]"), "spec.subsets[0].name: on is the boolean true"},
		"consecutive5xxErrors": {destinationRule("trafficPolicy: {outlierDetection: {consecutive5xxErrors: few}}"),
			"consecutive5xxErrors: few is a string"},
		"baseEjectionTime: 30": {destinationRule("trafficPolicy: {outlierDetection: {baseEjectionTime: 30}}"),
			"baseEjectionTime: 30 is a number, want a duration"},
		"ports: [8080]": {policy("rules: [{to: [{operation: {ports: [8080]}}]}]"),
			`operation.ports[0]: 8080 is a number, want a string: write "8080"`},
		"principals: x": {policy("rules: [{from: [{source: {principals: x}}]}]"),
			"source.principals: x is a string, want a list"},
		"namespaces: [on]": {policy("rules: [{from: [{source: {namespaces: [on]}}]}]"),
			"source.namespaces[0]: on is the boolean true"},
		"a selector's label": {policy("selector: {matchLabels: {a: on}}"),
			"spec.selector.matchLabels.a: on is the boolean true"},
		"rules: {}": {policy("rules: {}"), "spec.rules: is an object, want a list"},
		"mode: on": {peers("mtls: {mode: on}"),
			"spec.mtls.mode: on is a string, want UNSET, DISABLE, PERMISSIVE or STRICT"},
		"mode: strict": {peers("mtls: {mode: strict}"),
			"spec.mtls.mode: strict is a string, want UNSET, DISABLE, PERMISSIVE or STRICT"},
		"a mode of a port": {peers("portLevelMtls: {8080: {mode: 1}}"),
			"spec.portLevelMtls.8080.mode: 1 is a number, want UNSET"},
		"a token bucket": {object("networking.istio.io/v1", "EnvoyFilter",
			"{configPatches: [{patch: {value: {typed_config: {token_bucket: {max_tokens: ten}}}}}]}"), "max_tokens: ten is a " +
			"string"},
		"a backend of a split": {object("split.smi-spec.io/v1alpha2", "TrafficSplit",
			"{service: web, backends: [{service: on, weight: 1}]}"), "spec.backends[0].service: on is"},
		"an identity": {object("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", "{identities: [on]}"),
			"spec.identities[0]: on is the boolean true"},
		"a Service's port": {object("v1", "Service", "{ports: [{port: http}]}"),
			"spec.ports[0].port: http is a string, want a whole number"},
		"exac: /x": {match("uri: {exac: /x}"),
			"spec.http[0].match[0].uri.exac: there is no such field; did you mean exact?"},
		"exac in a header": {match("headers: {x: {exac: y}}"),
			"line 7: spec.http[0].match[0].headers.x.exac: there is no such field; did you mean exact?"},
		"suffix": {match("queryParams: {x: {suffix: y}}"),
			"queryParams.x.suffix: there is no such field: want one of exact, prefix, regex"},
		"two operators": {match("uri: {exact: /x, prefix: /y}"),
			"match[0].uri: has several fields: want one of exact, prefix, regex"},
		"a rule's mtach": {rule("mtach: []"), "spec.http[0].mtach: there is no such field: want one of corsPolicy, "},
		"a destination's subst": {rule("route: [{destination: {host: web, subst: v1}}]"),
			"destination.subst: there is no such field; did you mean subset?"},
		"wieght": {rule("route: [{destination: {host: web}, wieght: 1}]"),
			"route[0].wieght: there is no such field; did you mean weight?"},
		"a policy's acton": {policy("acton: DENY"), "spec.acton: there is no such field; did you mean action?"},
		"a policy's form": {policy("rules: [{form: []}]"),
			"spec.rules[0].form: there is no such field: want one of from, to, when"},
		"a policy's sorce": {policy("rules: [{from: [{sorce: {}}]}]"),
			"from[0].sorce: there is no such field; did you mean source?"},
		"a policy's selecter": {policy("selecter: {}"), "spec.selecter: there is no such field; did you mean selector?"},
		"matchLabel": {peers("selector: {matchLabel: {a: b}}"),
			"spec.selector.matchLabel: there is no such field; did you mean matchLabels?"},
		"mtls without a mode": {peers("mtls: {mod: STRICT}"), "spec.mtls.mod: there is no such field; did you mean mode?"},
		"in JSON": {
			`{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a"},"spec":{"http":[{"timeout":3}]}}`, "line 1: spec.http[0].timeout: 3 is a number"},
		"in a List": {"kind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  " +
			"metadata: {name: a}\n  spec:\n    hosts: [on]\n", "line 7: items[0].spec.hosts[0]: on is"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, test.manifest, "convert", "-")
			if r.code != 1 || r.out != "" || !strings.Contains(r.err, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 1, nothing, and %q", r.code, r.out, r.err, test.want)
			}
		})
	}
}

// TestConvertOfWaypointPolicies makes nothing of a policy for gateways and waypoints: without its target it would hold
// for the namespace.
func TestConvertOfWaypointPolicies(t *testing.T) {
	for _, target := range []string{"targetRef: {kind: Gateway, name: a}", "targetRefs: [{kind: Service, name: a}]"} {
		manifest := "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: " +
			"shop}\nspec: {" + target + ", rules: [{}]}\n"
		if r := runCLI(t, noCluster, manifest, "convert", "-"); r.code != codeLossy || r.out != "" ||
			!strings.Contains(r.err, "targetRefs are for gateways and waypoints") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want no policy", target, r.code, r.out, r.err)
		}
	}
}

// TestConvertDurations covers durations that a Gateway API duration can say (GEP-2257: at most five digits a unit).
func TestConvertDurations(t *testing.T) {
	for in, want := range map[string]string{
		"0s": "0s", "3s": "3s", "1.5s": "1500ms", "90s": "90s", "60s": "1m", "0.25s": "250ms", "2h": "2h",
		"100000.5s": "27h46m40s500ms", "1h0m3s": "3603s",
	} {
		manifest := "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [web], " +
			"http: [{timeout: " + in + "}]}\n"
		if r := runCLI(t, noCluster, manifest, "convert", "-"); !strings.Contains(r.out, "request: "+want+"\n") {
			t.Errorf("timeout %s: want %s, got\n%s%s", in, want, r.out, r.err)
		}
	}
}
