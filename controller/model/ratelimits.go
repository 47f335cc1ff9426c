package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// rateLimitPolicy is the record of an HTTPLocalRateLimitPolicy.
type rateLimitPolicy struct{ kept[rateLimitSpec] }

type rateLimitSpec struct {
	server types.NamespacedName
	limit  *mesh.RateLimit
}

func parseRateLimit(o *v1alpha1.HTTPLocalRateLimitPolicy, c Config) (spec rateLimitSpec, f Findings) {
	if t := o.Spec.TargetRef; t.Group != v1alpha1.PolicyGroup || t.Kind != "Server" {
		f.invalid("spec.targetRef", fmt.Sprintf("%s of group %q: want a Server of %s", t.Kind, t.Group, v1alpha1.PolicyGroup))
	}
	spec.server = types.NamespacedName{Namespace: o.Namespace, Name: o.Spec.TargetRef.Name}
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
			id := mesh.ID{TrustDomain: c.TrustDomain, Namespace: cmp.Or(r.Namespace, o.Namespace), ServiceAccount: r.Name}
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
	spec.limit = limit
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

func (s *Store) applyRateLimit(o *v1alpha1.HTTPLocalRateLimitPolicy, e Event) Change {
	a := &s.access
	n := nameOf(o)
	old := a.limits[n]
	var before *kept[rateLimitSpec]
	var change Change
	var servers []types.NamespacedName
	if old != nil {
		before = &old.kept
		delete(a.limits, n)
		unlink(a.limitsAt, old.spec.server, old)
		servers = append(servers, old.spec.server)
	}
	if !e.Deleted {
		spec, f := parseRateLimit(o, s.config)
		f.IgnoreUnknownFields(e.Unknown)
		now := &rateLimitPolicy{keep(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "HTTPLocalRateLimitPolicy"}, o, spec, f, before)}
		change.report(now.object, now.newMistakes(before))
		a.limits[n] = now
		if now.valid() {
			link(a.limitsAt, now.spec.server, now)
			servers = append(servers, now.spec.server)
		}
	}
	for _, server := range slices.Compact(servers) {
		s.refreshServer(server, &change)
		for _, l := range a.limitsAt[server] {
			s.statuses.touch(keyOf(l.ref()))
		}
	}
	s.statuses.touch(statusKey{v1alpha1.PolicyGroup, "HTTPLocalRateLimitPolicy", n})
	return change
}

// limitOf returns the policy that bounds the Server n, the oldest; nil if there is none.
func (s *Store) limitOf(n types.NamespacedName) *rateLimitPolicy {
	list := s.access.limitsAt[n]
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *rateLimitPolicy) int { return older(&a.kept, &b.kept) })
}

func (s *Store) rateLimit(n types.NamespacedName) *mesh.RateLimit {
	if l := s.limitOf(n); l != nil {
		return l.spec.limit
	}
	return nil
}

func (s *Store) limitStatus(l *rateLimitPolicy) Status {
	switch winner := s.limitOf(l.spec.server); {
	case l.valid() && s.access.servers[l.spec.server] == nil:
		return l.status(no(conditionAccepted, reasonNoTarget, describeMissing(serverRef(l.spec.server))))
	case l.valid() && winner != l:
		return l.status(no(conditionAccepted, reasonLimitExists,
			fmt.Sprintf("the Server has an older one, which counts alone: %s", winner.object.Name)))
	}
	return l.status(yes(conditionAccepted, conditionAccepted, ""))
}
