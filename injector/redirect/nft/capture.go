package nft

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/mesh"
)

// Proof is the outcome of the probe of one family.
type Proof struct {
	Target  netip.AddrPort
	Outcome Outcome
}

// Capture writes the rules of the configuration into the kernel and proves them. It returns an error unless all rules
// are in the kernel and a probe was redirected in each family that the namespace can use. It is idempotent. It must not
// run as the proxy's user.
func Capture(ctx context.Context, c mesh.CaptureConfig) (Report, []Proof, error) {
	report, err := Apply(redirect.Rules(c))
	if err != nil {
		return report, nil, err
	}
	var proofs []Proof
	for _, target := range redirect.ProbeTargets(c) {
		if target.Addr().Is6() && !report.IPv6 {
			continue
		}
		outcome, err := Probe(ctx, target, c.OutboundPort)
		if err != nil {
			return report, proofs, fmt.Errorf("probe the capture: %w", err)
		}
		proofs = append(proofs, Proof{Target: target, Outcome: outcome})
	}
	return report, proofs, nil
}
