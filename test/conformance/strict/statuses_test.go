package strict

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// condition is what a condition ought to be.
type condition struct{ kind, status, reason string }

// statusCase is a route and what its status ought to say about each of its parents.
type statusCase struct {
	parents, rules string
	want           [][]condition
}

func TestStatuses(t *testing.T) {
	const holds = `[{backendRefs: [{name: echo-v1, port: 80}]}]`
	accepted, resolved := condition{"Accepted", "True", "Accepted"}, condition{"ResolvedRefs", "True", "ResolvedRefs"}
	nowhere := condition{"Accepted", "False", "NoMatchingParent"}
	cases := map[string]statusCase{
		"a route that holds":      {"", holds, [][]condition{{accepted, resolved}}},
		"a rule without backends": {"", `[{timeouts: {request: 10s}}]`, [][]condition{{accepted, resolved}}},
		"a backend that is not there": {
			"", `[{backendRefs: [{name: nowhere, port: 80}]}]`,
			[][]condition{{accepted, {"ResolvedRefs", "False", "BackendNotFound"}}},
		},
		"a port that a backend has not": {
			"", `[{backendRefs: [{name: echo-v1, port: 81}]}]`,
			[][]condition{{accepted, {"ResolvedRefs", "False", "BackendNotFound"}}},
		},
		"a backend that is not a Service": {
			"", `[{backendRefs: [{group: example.org, kind: Bucket, name: x}]}]`,
			[][]condition{{accepted, {"ResolvedRefs", "False", "InvalidKind"}}},
		},
		"a backend that was not granted": {
			"", `[{backendRefs: [{name: foreign, namespace: strict-other, port: 80}]}]`,
			[][]condition{{accepted, {"ResolvedRefs", "False", "RefNotPermitted"}}},
		},
		"a mirror that is not there": {
			"", `[{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: nowhere, port: 80}}}], backendRefs: [{name: echo-v1, port: 80}]}]`,
			[][]condition{{accepted, {"ResolvedRefs", "False", "BackendNotFound"}}},
		},
		"a filter that is not supported": {
			"", `[{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}]`,
			[][]condition{{{"Accepted", "False", "UnsupportedValue"}}},
		},
		"a filter of a backend that is not supported": {
			"", `[{backendRefs: [{name: echo-v1, port: 80, filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}]}]`,
			[][]condition{{{"Accepted", "False", "UnsupportedValue"}}},
		},
		"CORS of a backend": {
			"", `[{backendRefs: [{name: echo-v1, port: 80, filters: [{type: CORS, cors: {allowOrigins: ["*"]}}]}]}]`,
			[][]condition{{{"Accepted", "False", "UnsupportedValue"}}},
		},
		"a mistake in one rule of two": {
			"", `[{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}, {backendRefs: [{name: echo-v1, port: 80}]}]`,
			[][]condition{{{"Accepted", "False", "UnsupportedValue"}, {"PartiallyInvalid", "True", "UnsupportedValue"}}},
		},
		"a headless parent": {`{group: "", kind: Service, name: headless, port: 80}`, holds,
			[][]condition{{nowhere}}},
		"a port that the parent has not": {`{group: "", kind: Service, name: echo, port: 81}`, holds,
			[][]condition{{nowhere}}},
		"a section by a port's name": {`{group: "", kind: Service, name: echo, sectionName: http-alt}`, holds,
			[][]condition{{accepted, resolved}}},
		"a section that names no port": {`{group: "", kind: Service, name: echo, sectionName: nothing}`, holds,
			[][]condition{{nowhere}}},
		"a name and a number of two ports": {`{group: "", kind: Service, name: echo, sectionName: http-alt, port: 80}`, holds,
			[][]condition{{nowhere}}},
		"every parent has its own": {
			`{group: "", kind: Service, name: echo-v1, port: 80}, {group: "", kind: Service, name: gone, port: 80}`, holds,
			[][]condition{{accepted, resolved}, {nowhere}},
		},
		"a parent of another controller is left to it": {
			`{name: some-gateway}, {group: "", kind: Service, name: echo-v1, port: 80}`, holds,
			[][]condition{{accepted, resolved}},
		},
	}
	if channel == "experimental" { // the other has no such field
		cases["a field that has no effect"] = statusCase{
			"", `[{sessionPersistence: {cookie: {lifetimeType: Session}}, backendRefs: [{name: echo-v1, port: 80}]}]`,
			[][]condition{{accepted, resolved, {"PartiallyInvalid", "True", "UnsupportedValue"}}},
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			apply(t, httpRoute("status", c.parents, c.rules))
			eventually(t, func() error { return checkStatus("httproute/status", 1, c.want) })
		})
	}
}

// TestLastGood breaks a route: what it said before keeps serving, and its status says so.
func TestLastGood(t *testing.T) {
	apply(t, httpRoute("edited", "", `[{backendRefs: [{name: echo-v2, port: 80}]}]`))
	serves := func() error {
		return check([]exchange{{request{url: "http://echo/x"}, answer{200, "v2", "/x", ""}}})
	}
	eventually(t, serves)
	apply(t, httpRoute("edited", "",
		`[{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}]}]`))
	eventually(t, func() error {
		if err := checkStatus("httproute/edited", 2, [][]condition{{{"Accepted", "False", "UnsupportedValue"}}}); err != nil {
			return err
		}
		parents, _, err := statuses("httproute/edited")
		if message := parents[0].Conditions.find("Accepted").Message; err == nil &&
			!strings.Contains(message, "generation 1 stays active") {
			err = fmt.Errorf("message %q, want that it names the generation that stays active", message)
		}
		return err
	})
	eventually(t, serves)
}

// TestBackendAppears gives a route the backend that it was waiting for: nobody has to touch the route.
func TestBackendAppears(t *testing.T) {
	apply(t, httpRoute("waiting", "", `[{backendRefs: [{name: late, port: 80}]}]`))
	eventually(t, func() error {
		if err := checkStatus("httproute/waiting", 1,
			[][]condition{{{"ResolvedRefs", "False", "BackendNotFound"}}}); err != nil {
			return err
		}
		return check([]exchange{{request{url: "http://echo/"}, answer{status: 500}}})
	})
	apply(t, `
apiVersion: v1
kind: Service
metadata: {name: late, namespace: strict}
spec: {selector: {app: echo, version: v2}, ports: [{port: 80, targetPort: 8080}]}
`)
	eventually(t, func() error {
		if err := checkStatus("httproute/waiting", 1, [][]condition{{{"ResolvedRefs", "True", "ResolvedRefs"}}}); err != nil {
			return err
		}
		return check([]exchange{{request{url: "http://echo/"}, answer{200, "v2", "/", ""}}})
	})
}

// controller is the name under which the mesh writes statuses.
const controller = "tulle.dev/policy-controller"

// checkStatus compares the conditions of each parent of a route, in the order of its parents; those that are not wanted
// may be there.
func checkStatus(route string, generation int64, want [][]condition) error {
	parents, now, err := statuses(route)
	if err != nil {
		return err
	}
	if now != generation || len(parents) != len(want) {
		return fmt.Errorf("generation %d, %d parents have a status, want generation %d and %d parents", now, len(parents),
			generation, len(want))
	}
	for i, conditions := range want {
		if parents[i].ControllerName != controller {
			return fmt.Errorf("parent %d: the status is of %q, want %s", i, parents[i].ControllerName, controller)
		}
		for _, want := range conditions {
			got := parents[i].Conditions.find(want.kind)
			// What holds needs no explanation, except what holds in part.
			explained := want.reason == want.kind || got.Message != ""
			if got.Status != want.status || got.Reason != want.reason || got.ObservedGeneration != generation || !explained {
				return fmt.Errorf("parent %d: %s is %+v, want %s %s of generation %d, explained if not as wished", i, want.kind,
					got,
					want.status, want.reason, generation)
			}
		}
	}
	return nil
}

type parentStatus struct {
	ControllerName string
	Conditions     conditionList
}

type statusCondition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

type conditionList []statusCondition

func (l conditionList) find(kind string) statusCondition {
	for _, c := range l {
		if c.Type == kind {
			return c
		}
	}
	return statusCondition{}
}

// statuses returns what stands in the status of a route, such as httproute/name, and the route's generation.
func statuses(route string) ([]parentStatus, int64, error) {
	out, err := kubectl("", "-n", "strict", "get", route, "-o", "json")
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
