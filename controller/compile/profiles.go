package compile

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// KindServiceProfile is the group and kind of ServiceProfiles.
var KindServiceProfile = RouteKind{v1alpha1.ProfileGroup, "ServiceProfile"}

// Profile is what one generation of a profile says, without what other objects say about it.
type Profile struct {
	Generation int64
	Mesh       mesh.Profile
	Opaque     mesh.PortSet
	References []mesh.ServiceRef
	Findings   Findings
}

func (p *Profile) HasMistakes() bool { return p.Findings.Has(Invalid) }

// ReplacesRoutes reports whether the profile has routes or overrides: then it replaces the routes of its Service.
// Source: Linkerd.
func (p *Profile) ReplacesRoutes() bool { return len(p.Mesh.Routes)+len(p.Mesh.Overrides) > 0 }

// ServiceNamed returns the Service whose full name it is; zero for a name outside the cluster.
func ServiceNamed(fqdn, domain string) types.NamespacedName {
	rest, ok := strings.CutSuffix(strings.TrimSuffix(fqdn, "."), ".svc."+domain)
	svc, namespace, both := strings.Cut(rest, ".")
	if !ok || !both || strings.Contains(namespace, ".") {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: namespace, Name: svc}
}

func ParseServiceProfile(o *v1alpha1.ServiceProfile, domain string) *Profile {
	c := newCompiler(KindServiceProfile, o.Namespace)
	p := &Profile{Generation: o.Generation}
	p.Mesh.Ref = mesh.Ref{Group: KindServiceProfile.Group, Kind: KindServiceProfile.Kind, Namespace: o.Namespace,
		Name: o.Name}
	p.Mesh.Budget = c.budget("spec.retryBudget", o.Spec.RetryBudget)
	routes := atMost(c, "spec.routes", o.Spec.Routes, MaxRules)
	for i := range routes {
		p.Mesh.Routes = append(p.Mesh.Routes, c.profileRoute(ElementPath("spec", "routes", i), &routes[i]))
	}
	if o.Spec.RetryBudget != nil && !slices.ContainsFunc(p.Mesh.Routes,
		func(r mesh.ProfileRoute) bool { return r.Retryable }) {
		c.ignored("spec.retryBudget", "no route is retryable, so nothing is retried; this has no effect")
	}
	overrides := atMost(c, "spec.dstOverrides", o.Spec.DstOverrides, maxBackends)
	for i := range overrides {
		p.Mesh.Overrides = append(p.Mesh.Overrides,
			c.override(ElementPath("spec", "dstOverrides", i), &overrides[i], domain))
	}
	for i, text := range o.Spec.OpaquePorts {
		set, err := mesh.ParsePortSet(text, nil)
		if err != nil {
			c.unsupported(ElementPath("spec", "opaquePorts", i), "%v", err)
		}
		p.Opaque = append(p.Opaque, set...)
	}
	for use := range c.references {
		p.References = append(p.References, use)
	}
	p.Findings = c.findings
	return p
}

func (c *compiler) budget(path string, in *v1alpha1.RetryBudget) *mesh.Budget {
	if in == nil {
		return nil
	}
	ttl, err := anyDuration(in.TTL)
	if err != nil || ttl <= 0 {
		c.unsupported(path+".ttl", "%q is not a duration above 0: want a number with a unit, such as 10s", clip(in.TTL))
		return nil
	}
	// Not "< 0", which a NaN would pass.
	if !(in.RetryRatio >= 0 && in.RetryRatio <= maxRetryRatio) {
		c.unsupported(path+".retryRatio", "%v is not a ratio: want 0 to %d", in.RetryRatio, maxRetryRatio)
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
	to := ServiceNamed(host, domain)
	if to == (types.NamespacedName{}) {
		to = ServiceNamed(host+"."+domain, domain)
	}
	out := mesh.WeightedBackend{
		Service: mesh.ServiceRef{Namespace: to.Namespace, Name: to.Name, Port: uint16(port)},
		Ref:     mesh.Ref{Group: "core", Kind: "Service", Namespace: to.Namespace, Name: to.Name},
	}
	if to == (types.NamespacedName{}) {
		c.unsupported(path+".authority", "%q is not a Service of this cluster: want <name>.<namespace>.svc.%s:<port>",
			clip(in.Authority), domain)
	}
	// The value is compared before it is scaled: a quantity may be of any size.
	if in.Weight.Sign() < 0 || in.Weight.CmpInt64(maxWeight) > 0 {
		c.unsupported(path+".weight", "%s is not a weight: want 0 to %d", clip(in.Weight.String()), maxWeight)
	} else {
		out.Weight = uint32(in.Weight.MilliValue())
	}
	if out.Invalid = c.broken; out.Invalid == "" {
		c.references[out.Service] = struct{}{}
	}
	return out
}
