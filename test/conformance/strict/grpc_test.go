package strict

import (
	"fmt"
	"testing"
)

// grpcRoute is a GRPCRoute in namespace strict, on Service echo.
func grpcRoute(name, rules string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: %s, namespace: strict}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 7070}]
  rules: %s
---
`, name, rules)
}

func TestGRPC(t *testing.T) {
	type want struct{ version, code string } // code "" is OK
	for name, c := range map[string]struct {
		rules   string
		headers []string
		want    want
	}{
		"a method is matched": {
			`[{matches: [{method: {service: proto.EchoTestService, method: Echo}}], backendRefs: [{name: echo-v2, port: 7070}]}]`, nil, want{"v2", ""},
		},
		"a service is matched": {
			`[{matches: [{method: {service: proto.EchoTestService}}], backendRefs: [{name: echo-v2, port: 7070}]}]`, nil,
			want{"v2", ""},
		},
		"a method that no rule matches is UNIMPLEMENTED and not the parent": {
			`[{matches: [{method: {service: proto.EchoTestService, method: ForwardEcho}}], backendRefs: [{name: echo-v2, port: 7070}]}]`,
			nil, want{"", "Unimplemented"},
		},
		"a backend that is not there is UNAVAILABLE and not the parent": {
			`[{backendRefs: [{name: nowhere, port: 7070}]}]`, nil, want{"", "Unavailable"},
		},
		"an exact method wins over a header": {
			`[{matches: [{headers: [{name: a, value: "1"}]}], backendRefs: [{name: echo-v1, port: 7070}]},
        {matches: [{method: {service: proto.EchoTestService, method: Echo}}], backendRefs: [{name: echo-v2, port: 7070}]}]`,
			[]string{"a: 1"}, want{"v2", ""},
		},
		"a filter that is not supported is never left out": {
			`[{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Magic, name: x}}], backendRefs: [{name: echo-v1, port: 7070}]}]`,
			nil, want{"", "Internal"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, grpcRoute("grpc", c.rules))
			eventually(t, func() error {
				got, err := send(request{from: "echo-v1", url: "grpc://echo:7070", headers: c.headers})
				if err != nil {
					return err
				}
				if g := (want{got[0].version, got[0].code}); g != c.want {
					return fmt.Errorf("got %+v, want %+v", g, c.want)
				}
				return nil
			})
		})
	}
}

func TestGRPCStatus(t *testing.T) {
	apply(t, grpcRoute("grpc", `[{backendRefs: [{name: nowhere, port: 7070}]}]`))
	eventually(t, func() error {
		return checkStatus("grpcroute/grpc", 1, [][]condition{
			{{"Accepted", "True", "Accepted"}, {"ResolvedRefs", "False", "BackendNotFound"}}})
	})
}
