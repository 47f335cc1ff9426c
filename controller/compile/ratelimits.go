package compile

import (
	"cmp"
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

type RateLimit struct {
	Server types.NamespacedName
	Limit  *mesh.RateLimit
}

func ParseRateLimit(o *v1alpha1.HTTPLocalRateLimitPolicy, trustDomain string) (spec RateLimit, f Findings) {
	if t := o.Spec.TargetRef; t.Group != v1alpha1.PolicyGroup || t.Kind != "Server" {
		f.invalid("spec.targetRef", fmt.Sprintf("%s of group %q: want a Server of %s", t.Kind, t.Group, v1alpha1.PolicyGroup))
	}
	spec.Server = types.NamespacedName{Namespace: o.Namespace, Name: o.Spec.TargetRef.Name}
	limit := &mesh.RateLimit{
		Ref: mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: "HTTPLocalRateLimitPolicy", Namespace: o.Namespace, Name: o.Name},
	}
	if l := o.Spec.Total; l != nil {
		limit.Total = parseRate(l.RequestsPerSecond, "spec.total.requestsPerSecond", 0, &f)
	}
	if l := o.Spec.Identity; l != nil {
		limit.Identity = parseRate(l.RequestsPerSecond, "spec.identity.requestsPerSecond", limit.Total, &f)
	}
	for i, over := range o.Spec.Overrides {
		path := fmt.Sprintf("spec.overrides[%d]", i)
		rate := mesh.RateOverride{PerSecond: parseRate(over.RequestsPerSecond, path+".requestsPerSecond", limit.Total, &f)}
		for j, r := range over.ClientRefs {
			id := mesh.ID{TrustDomain: trustDomain, Namespace: cmp.Or(r.Namespace, o.Namespace), ServiceAccount: r.Name}
			if err := id.Validate(); err != nil || !isCore(r.Group) || r.Kind != "ServiceAccount" {
				f.invalid(fmt.Sprintf("%s.clientRefs[%d]", path, j), fmt.Sprintf("%s %q: want a ServiceAccount", r.Kind, r.Name))
				continue
			}
			rate.Identities = append(rate.Identities, id)
		}
		limit.Overrides = append(limit.Overrides, rate)
	}
	if o.Spec.Total == nil && o.Spec.Identity == nil && len(o.Spec.Overrides) == 0 {
		f.invalid("spec", "bounds nothing: want total, identity or overrides")
	}
	spec.Limit = limit
	return spec, f
}

// parseRate checks a bound, which total bounds in turn unless it is 0.
func parseRate(rate float64, path string, total float64, f *Findings) float64 {
	switch {
	case !(rate > 0) || math.IsInf(rate, 1):
		f.invalid(path, fmt.Sprintf("%v: want more than 0", rate))
	case total > 0 && rate > total:
		f.invalid(path, fmt.Sprintf("%v is more than spec.total.requestsPerSecond, %v", rate, total))
	}
	return rate
}
