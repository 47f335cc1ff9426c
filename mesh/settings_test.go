package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettings reads every annotation as the injector does, which has no names of ports, and as the destination
// controller does for a pod.
func TestSettings(t *testing.T) {
	pod := func(name string) []uint16 { return map[string][]uint16{"redis": {6379}, "http": {80, 8080}}[name] }
	ports := func(ranges ...PortRange) *PortSet { set := PortSet(ranges); return &set }
	for name, test := range map[string]struct {
		annotation, value string
		named             PortNames
		want              Settings
		err               string
	}{
		"opaque ports": {OpaquePortsAnnotation, "25, 9000-9010", pod, Settings{Opaque: ports(PortRange{25, 25},
			PortRange{9000, 9010})}, ""},
		"no opaque port":        {OpaquePortsAnnotation, "", pod, Settings{Opaque: ports()}, ""},
		"an opaque port's name": {OpaquePortsAnnotation, "redis", pod, Settings{Opaque: ports(PortRange{6379, 6379})}, ""},
		"a name for later": {OpaquePortsAnnotation, "25,redis", nil, Settings{Opaque: ports(PortRange{25, 25}),
			OpaqueNames: []string{"redis"}}, ""},
		"a name that the pod lacks": {OpaquePortsAnnotation, "mysql", pod, Settings{},
			`"mysql" is not a port (1-65535), a range first-last or the name of one of its ports`},
		"what is no name": {OpaquePortsAnnotation, "my sql", nil, Settings{},
			`"my sql" is not a port (1-65535), a range first-last or the name of a port`},
		"ports with identity": {RequireIdentityPortsAnnotation, "80", nil,
			Settings{RequireIdentity: ports(PortRange{80, 80})}, ""},
		"names of ports with identity": {RequireIdentityPortsAnnotation, "http", pod,
			Settings{RequireIdentity: ports(PortRange{80, 80}, PortRange{8080, 8080})}, ""},
		"a name of ports with identity, too early": {RequireIdentityPortsAnnotation, "http", nil, Settings{},
			`"http" is not a port (1-65535) or a range first-last`},
		"skipped ports": {SkipInboundPortsAnnotation, "4567,4568", nil,
			Settings{SkipInbound: ports(PortRange{4567, 4568})}, ""},
		"a range that ends before it begins": {SkipInboundPortsAnnotation, "2-1", nil, Settings{},
			`"2-1" is not a port (1-65535) or a range first-last`},
		"a policy between blanks": {DefaultInboundPolicyAnnotation, " deny\n", nil, Settings{Policy: Deny}, ""},
		"a policy":                {DefaultInboundPolicyAnnotation, "deny", nil, Settings{Policy: Deny}, ""},
		"another policy": {DefaultInboundPolicyAnnotation, "allow", nil, Settings{},
			`access policy "allow": want one of all-unauthenticated, all-authenticated, cluster-unauthenticated, ` +
				`cluster-authenticated, deny, audit`},
		"another annotation": {InjectAnnotation, "enabled", nil, Settings{},
			"annotation linkerd.io/inject is not a setting"},
	} {
		t.Run(name, func(t *testing.T) {
			var got Settings
			err := got.Set(test.annotation, test.value, test.named)
			if text := errorText(err); text != test.err {
				t.Errorf("error %q, want %q", text, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if !got.Equal(test.want) || test.err == "" && got.Equal(Settings{}) {
				t.Errorf("%+v equals nothing, or does not equal itself", got)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRetainRetainsOne retains of prior settings what one annotation said, and nothing else.
func TestRetainRetainsOne(t *testing.T) {
	var prior Settings
	values := map[string]string{OpaquePortsAnnotation: "25", RequireIdentityPortsAnnotation: "80-90",
		SkipInboundPortsAnnotation: "", DefaultInboundPolicyAnnotation: "deny"}
	for _, annotation := range SettingAnnotations {
		if err := prior.Set(annotation, values[annotation], nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, annotation := range SettingAnnotations {
		var got, want Settings
		if text, ok := got.Retain(annotation, prior); !ok || text != values[annotation] {
			t.Errorf("%s: retained %q, %t; want %q", annotation, text, ok, values[annotation])
		}
		if err := want.Set(annotation, values[annotation], nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", annotation, diff)
		}
		if text, ok := got.Retain(annotation, Settings{}); ok {
			t.Errorf("%s: retained %q of nothing", annotation, text)
		}
	}
}
