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
		"a port nobody names has the default":   {80, PortPolicy{Policy: AllUnauthenticated}},
		"a set adds to the default":             {25, PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque}},
		"a set adds to the port's own":          {8080, PortPolicy{Policy: Deny, Protocol: Opaque, ProbePaths: []string{"/healthz"}}},
		"a port may be in both sets":            {8085, PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque, RequireIdentity: true}},
		"the end of a range belongs to it":      {8090, PortPolicy{Policy: AllUnauthenticated, Protocol: Opaque}},
		"the port after a range does not do so": {8091, PortPolicy{Policy: AllUnauthenticated}},
	} {
		if diff := cmp.Diff(c.want, in.Port(c.port)); diff != "" {
			t.Errorf("%s: Port(%d) (-want +got):\n%s", name, c.port, diff)
		}
	}
}
