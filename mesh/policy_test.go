package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInboundPort(t *testing.T) {
	probes := PortPolicy{Policy: Deny, ProbePaths: []string{"/healthz"}}
	in := &Inbound{
		Default:              PortPolicy{Policy: AllUnauthenticated},
		Ports:                map[uint16]PortPolicy{8080: probes},
		OpaquePorts:          PortSet{{25, 25}, {8080, 8090}},
		RequireIdentityPorts: PortSet{{8085, 8085}},
	}
	for name, c := range map[string]struct {
		port uint16
		want PortPolicy
	}{
		"a port nobody names has the default": {80, PortPolicy{Policy: AllUnauthenticated}},
		"a set adds to the default":           {25, PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque}},
		"a set adds to the port's own": {8080,
			PortPolicy{Policy: Deny, Protocol: Opaque, ProbePaths: []string{"/healthz"}}},
		"a port may be in both sets": {8085,
			PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque, RequireIdentity: true}},
		"the end of a range belongs to it":      {8090, PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque}},
		"the port after a range does not do so": {8091, PortPolicy{Policy: AllUnauthenticated}},
	} {
		if diff := cmp.Diff(c.want, in.Port(c.port)); diff != "" {
			t.Errorf("%s: Port(%d) (-want +got):\n%s", name, c.port, diff)
		}
	}
}

func TestPortSetWithout(t *testing.T) {
	set := PortSet{{1, 3}, {5, 5}, {8, 9}}
	for port, want := range map[uint16]string{1: "2-3,5,8-9", 2: "1,3,5,8-9", 3: "1-2,5,8-9", 5: "1-3,8-9", 9: "1-3,5,8",
		7: "1-3,5,8-9"} {
		if got := set.Without(port).String(); got != want {
			t.Errorf("without %d: %s, want %s", port, got, want)
		}
	}
	if all := (PortSet{{0, 65535}}); all.Without(65535).String() != "0-65534" || all.Without(0).String() != "1-65535" {
		t.Error("the ends of the range of ports are not taken out")
	}
	if set.String() != "1-3,5,8-9" {
		t.Errorf("the set itself changed to %s", set)
	}
}
