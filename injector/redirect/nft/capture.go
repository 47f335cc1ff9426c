package nft

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/mesh"
)

// Proof is the result of the probe of one family.
type Proof struct {
	Target netip.AddrPort
	Result ProbeResult
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
		result, err := Probe(ctx, target, c.OutboundPort)
		if err != nil {
			return report, proofs, fmt.Errorf("probe the capture: %w", err)
		}
		proofs = append(proofs, Proof{Target: target, Result: result})
	}
	return report, proofs, nil
}
