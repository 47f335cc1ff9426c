package model

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// rateLimitPolicy is the record of an HTTPLocalRateLimitPolicy.
type rateLimitPolicy struct{ lastValid[compile.RateLimit] }

func (s *Store) applyRateLimit(o *v1alpha1.HTTPLocalRateLimitPolicy, e Event) Change {
	a := &s.access
	n := compile.NameOf(o)
	old := a.limits[n]
	var before *lastValid[compile.RateLimit]
	var change Change
	var servers []types.NamespacedName
	if old != nil {
		before = &old.lastValid
		delete(a.limits, n)
		unlink(a.limitsAt, old.spec.Server, old)
		servers = append(servers, old.spec.Server)
	}
	if !e.Deleted {
		spec, f := compile.ParseRateLimit(o, s.config.TrustDomain)
		f.IgnoreUnknownFields(e.Unknown)
		now := &rateLimitPolicy{withLastValid(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "HTTPLocalRateLimitPolicy"}, o,
			spec, f, before)}
		change.report(now.object, now.newProblems(before))
		a.limits[n] = now
		if now.valid() {
			link(a.limitsAt, now.spec.Server, now)
			servers = append(servers, now.spec.Server)
		}
	}
	for _, server := range slices.Compact(servers) {
		s.refreshServer(server, &change)
		for _, l := range a.limitsAt[server] {
			s.outcomes.touch(keyOf(l.ref()))
		}
	}
	s.outcomes.touch(objectKey{v1alpha1.PolicyGroup, "HTTPLocalRateLimitPolicy", n})
	return change
}

// limitOf returns the policy that bounds the Server n, the oldest; nil if there is none.
func (s *Store) limitOf(n types.NamespacedName) *rateLimitPolicy {
	list := s.access.limitsAt[n]
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *rateLimitPolicy) int { return older(&a.lastValid, &b.lastValid) })
}

func (s *Store) rateLimit(n types.NamespacedName) *mesh.RateLimit {
	if l := s.limitOf(n); l != nil {
		return l.spec.Limit
	}
	return nil
}

func (s *Store) limitOutcome(l *rateLimitPolicy) Outcome {
	var result Result
	switch winner := s.limitOf(l.spec.Server); {
	case l.valid() && s.access.servers[l.spec.Server] == nil:
		result.reject(ReasonNoTarget, "%s", describeMissing(compile.ServerRef(l.spec.Server)))
	case l.valid() && winner != l:
		result.reject(ReasonLimitExists, "an older rate limit of the Server applies instead: %s", winner.object.Name)
	}
	return l.outcome(result)
}
