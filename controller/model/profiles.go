package model

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// profileKind is the group and kind of ServiceProfiles.
var profileKind = routeKind{v1alpha1.ProfileGroup, "ServiceProfile"}

// profile is the record of a ServiceProfile. But for resolved it never changes.
type profile struct {
	statusKey
	uid        types.UID
	generation int64
	// of is the Service that the name means; zero if it means none of this cluster.
	of types.NamespacedName
	// said is what the object says now. served is what holds, as in a route.
	said, served *profileSpec
	resolved     *mesh.Profile
}

// profileSpec is what one generation of a profile says, without what other objects say about it.
type profileSpec struct {
	generation int64
	mesh       mesh.Profile
	opaque     mesh.PortSet
	uses       []mesh.ServiceRef
	findings   Findings
}

func (sp *profileSpec) broken() bool { return sp.findings.Has(Invalid) }

// stands reports whether the profile says where requests go, or what they are: then it stands in the place of routes. Source: Linkerd.
func (sp *profileSpec) stands() bool { return len(sp.mesh.Routes)+len(sp.mesh.Overrides) > 0 }

func (s *Store) applyProfile(o *v1alpha1.ServiceProfile, e Event) Change {
	key := nameOf(o)
	var change Change
	old := s.profiles[key]
	if old != nil {
		delete(s.profiles, key)
		s.indexProfile(old, false)
		s.touchProfile(old, &change)
	}
	if e.Deleted {
		s.statuses.touch(statusKey{profileKind.group, profileKind.kind, key})
	} else {
		now := s.newProfile(o, e, old)
		s.profiles[key] = now
		s.indexProfile(now, true)
		s.touchProfile(now, &change)
	}
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) newProfile(o *v1alpha1.ServiceProfile, e Event, prior *profile) *profile {
	p := &profile{
		statusKey: statusKey{profileKind.group, profileKind.kind, nameOf(o)},
		uid:       o.UID, generation: o.Generation,
		of: serviceNamed(o.Name, s.config.ClusterDomain),
	}
	p.said = compileProfile(o, s.config.ClusterDomain)
	p.said.findings.IgnoreUnknownFields(e.Unknown)
	p.served = p.said
	if prior != nil && prior.uid == p.uid && p.said.broken() && !prior.served.broken() {
		p.served = prior.served
	}
	return p
}

// serviceNamed returns the Service whose full name it is; zero for a name outside the cluster.
func serviceNamed(fqdn, domain string) types.NamespacedName {
	rest, ok := strings.CutSuffix(strings.TrimSuffix(fqdn, "."), ".svc."+domain)
	svc, namespace, both := strings.Cut(rest, ".")
	if !ok || !both || strings.Contains(namespace, ".") {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: namespace, Name: svc}
}

func (s *Store) indexProfile(p *profile, add bool) {
	if p.of != (types.NamespacedName{}) {
		relink(s.profilesByService, p.of, p, add)
	}
	for _, use := range p.served.uses {
		relink(s.senders, types.NamespacedName{Namespace: use.Namespace, Name: use.Name}, sender(p), add)
	}
}

func (p *profile) parentServices(f func(types.NamespacedName)) { f(p.of) }

func (p *profile) touch(s *Store) {
	p.resolved = nil
	s.statuses.touch(p.statusKey)
}

func (s *Store) touchProfile(p *profile, change *Change) {
	p.touch(s)
	s.touchRoutesOf(p.of)
	change.Addrs = append(change.Addrs, s.clusterIPs(p.of)...)
}

// profileFor returns the profile that holds for the clients of a namespace: their own, else that of the Service's namespace.
func (s *Store) profileFor(svc *service, namespace string) *profile {
	var own, producer *profile
	for _, p := range s.profilesByService[svc.NamespacedName] {
		switch p.Namespace {
		case namespace:
			own = p
		case svc.Namespace:
			producer = p
		}
	}
	if own != nil {
		return own
	}
	return producer
}

// resolvedProfile returns p with its overrides looked up.
func (s *Store) resolvedProfile(p *profile) *mesh.Profile {
	if p.resolved != nil {
		return p.resolved
	}
	out := p.served.mesh
	out.Overrides = slices.Clone(out.Overrides)
	for i := range out.Overrides {
		if b := &out.Overrides[i]; b.Invalid == "" {
			_, b.Invalid = s.exists(b.Service)
		}
	}
	p.resolved = &out
	return p.resolved
}

func compileProfile(o *v1alpha1.ServiceProfile, domain string) *profileSpec {
	c := newCompiler(profileKind, o.Namespace)
	sp := &profileSpec{generation: o.Generation}
	sp.mesh.Ref = mesh.Ref{Group: profileKind.group, Kind: profileKind.kind, Namespace: o.Namespace, Name: o.Name}
	sp.mesh.Budget = c.budget("spec.retryBudget", o.Spec.RetryBudget)
	routes := atMost(c, "spec.routes", o.Spec.Routes, maxRules)
	for i := range routes {
		sp.mesh.Routes = append(sp.mesh.Routes, c.profileRoute(at("spec", "routes", i), &routes[i]))
	}
	if o.Spec.RetryBudget != nil && !slices.ContainsFunc(sp.mesh.Routes, func(r mesh.ProfileRoute) bool { return r.Retryable }) {
		c.ignored("spec.retryBudget", "no route is retryable, so nothing is retried; this has no effect")
	}
	overrides := atMost(c, "spec.dstOverrides", o.Spec.DstOverrides, maxBackends)
	for i := range overrides {
		sp.mesh.Overrides = append(sp.mesh.Overrides, c.override(at("spec", "dstOverrides", i), &overrides[i], domain))
	}
	for i, text := range o.Spec.OpaquePorts {
		set, err := mesh.ParsePortSet(text, nil)
		if err != nil {
			c.unsupported(at("spec", "opaquePorts", i), "%v", err)
		}
		sp.opaque = append(sp.opaque, set...)
	}
	for use := range c.uses {
		sp.uses = append(sp.uses, use)
	}
	sp.findings = c.findings
	return sp
}

func (c *compiler) budget(path string, in *v1alpha1.RetryBudget) *mesh.Budget {
	if in == nil {
		return nil
	}
	ttl, err := anyDuration(in.TTL)
	if err != nil || ttl <= 0 {
		c.unsupported(path+".ttl", "%q is no duration above 0: want a number with a unit, such as 10s", clip(in.TTL))
		return nil
	}
	// Not "< 0", which a NaN would pass.
	if !(in.RetryRatio >= 0 && in.RetryRatio <= maxRetryRatio) {
		c.unsupported(path+".retryRatio", "%v is no ratio: want 0 to %d", in.RetryRatio, maxRetryRatio)
		return nil
	}
	// The shortest decimal of the float32 is what people wrote: 0.2, not 0.20000000298.
	ratio, _ := strconv.ParseFloat(strconv.FormatFloat(float64(in.RetryRatio), 'g', -1, 32), 64)
	return &mesh.Budget{Ratio: ratio, MinPerSecond: in.MinRetriesPerSecond, TTL: ttl}
}

// maxRetryRatio is Linkerd's: a thousand retries for each request.
const maxRetryRatio = 1000

// override reads a destination and its weight. Weights are quantities, in thousandths: those of a TrafficSplit were.
func (c *compiler) override(path string, in *v1alpha1.WeightedDst, domain string) mesh.WeightedBackend {
	c.broken = ""
	host, portText, err := net.SplitHostPort(in.Authority)
	port := uint64(80)
	if err != nil {
		host = in.Authority
	} else if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
		c.unsupported(path+".authority", "%q has no port between 1 and 65535", clip(in.Authority))
	}
	to := serviceNamed(host, domain)
	if to == (types.NamespacedName{}) {
		to = serviceNamed(host+"."+domain, domain)
	}
	out := mesh.WeightedBackend{
		Service: mesh.ServiceRef{Namespace: to.Namespace, Name: to.Name, Port: uint16(port)},
		Ref:     mesh.Ref{Group: "core", Kind: "Service", Namespace: to.Namespace, Name: to.Name},
	}
	if to == (types.NamespacedName{}) {
		c.unsupported(path+".authority", "%q is no Service of this cluster: want <name>.<namespace>.svc.%s:<port>", clip(in.Authority), domain)
	}
	// The value is compared before it is scaled: a quantity may be of any size.
	if in.Weight.Sign() < 0 || in.Weight.CmpInt64(maxWeight) > 0 {
		c.unsupported(path+".weight", "%s is no weight: want 0 to %d", clip(in.Weight.String()), maxWeight)
	} else {
		out.Weight = uint32(in.Weight.MilliValue())
	}
	if out.Invalid = c.broken; out.Invalid == "" {
		c.uses[out.Service] = struct{}{}
	}
	return out
}

// exists says why there is nothing to send to at to; both "" if there is.
func (s *Store) exists(to mesh.ServiceRef) (reason gatewayv1.RouteConditionReason, message string) {
	svc := s.services[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	if svc == nil {
		return gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("there is no Service %s in namespace %s", to.Name, to.Namespace)
	}
	if svc.external {
		return gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %s in namespace %s is of type ExternalName and has no endpoints", to.Name,
			to.Namespace)
	}
	if _, ok := svc.port(to.Port); !ok {
		return gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %s in namespace %s has no TCP port %d", to.Name, to.Namespace, to.Port)
	}
	return "", ""
}
