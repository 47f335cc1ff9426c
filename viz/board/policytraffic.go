package board

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/routes"
)

// The units of a PolicyTraffic.
const (
	UnitRequest    = "request"
	UnitConnection = "connection"
)

// count adds the traffic that the object matched in the window.
func (p *policies) count(o *PolicyObject, object metav1.Object) {
	var isOwn func(authz.Row) bool
	switch o.Kind {
	case "Server":
		isOwn = func(r authz.Row) bool { return r.Server == o.Name }
	case "AuthorizationPolicy", "ServerAuthorization":
		authorization := strings.ToLower(o.Kind) + "/" + o.Name
		isOwn = func(r authz.Row) bool { return r.Authorization == authorization }
	case "HTTPRoute", "GRPCRoute":
		servers := o.linked(RoleParent, "Server")
		isOwn = func(r authz.Row) bool {
			return r.Route == o.Name && slices.ContainsFunc(servers, func(l PolicyLink) bool { return l.Name == r.Server })
		}
		p.countRouted(o, func(r routes.Row) bool { return r.Route == o.Name })
		if len(servers) == 0 { // no policy decides at it
			return
		}
	case "ServiceProfile":
		profile, ok := object.(*v1alpha1.ServiceProfile)
		named := func(r routes.Row) bool {
			return ok && slices.ContainsFunc(profile.Spec.Routes, func(of v1alpha1.RouteSpec) bool { return of.Name == r.Route })
		}
		p.countRouted(o, func(r routes.Row) bool { return r.Route == routes.Default || named(r) })
		return
	case "TLSRoute", "TCPRoute":
		p.countRoutedConnections(o)
		return
	case "HTTPLocalRateLimitPolicy":
		p.countLimited(o)
		return
	default:
		return
	}
	if p.authzErr == nil {
		o.Traffic = append([]PolicyTraffic{}, o.Traffic...)
	}
	for _, r := range p.authzRows {
		if r.Namespace == o.Namespace && isOwn(r) {
			o.Traffic = append(o.Traffic, p.decidedTraffic(r))
		}
	}
	p.countConnections(o, isOwn)
}

func (p *policies) decidedTraffic(r authz.Row) PolicyTraffic {
	t := PolicyTraffic{Result: ResultAllowed, Unit: UnitRequest, Server: r.Server, Route: ownRoute(r.Route),
		Authorization: r.Authorization, Golden: newGolden(r.Stats), Command: p.authzCommand}
	if r.Authorization == "" {
		t.Result, t.RPS = ResultDenied, r.Denied
	}
	return t
}

// ownRoute returns the name of a route; "" for default, which stands for a Server without routes.
func ownRoute(name string) string {
	if name == "default" {
		return ""
	}
	return name
}

// countConnections adds the connections other than HTTP, which have no rows in viz/authz.
func (p *policies) countConnections(o *PolicyObject, isOwn func(authz.Row) bool) {
	if p.podsErr != nil {
		return
	}
	for _, c := range p.clients.Connections {
		if c.Namespace == o.Namespace && isOwn(authz.Row{Server: c.Server, Authorization: c.Authorization}) {
			o.Traffic = append(o.Traffic, PolicyTraffic{Result: ResultAllowed, Unit: UnitConnection, Server: c.Server,
				Authorization: c.Authorization, Golden: Golden{RPS: c.Rate}, Command: c.PromQL(p.query.Window)})
		}
	}
	denied := PolicyTraffic{Result: ResultDenied, Unit: UnitConnection}
	for _, d := range p.clients.Denials {
		if d.Opaque && d.Namespace == o.Namespace && isOwn(authz.Row{Server: d.Server}) {
			denied.Server, denied.RPS = d.Server, denied.RPS+d.Rate
			denied.Command = d.OfServer(p.query.Window)
		}
	}
	if denied.RPS > 0 {
		o.Traffic = append(o.Traffic, denied)
	}
}

// countLimited adds the requests that the rate limit refused.
func (p *policies) countLimited(o *PolicyObject) {
	if p.podsErr != nil || p.lacks("requests that rate limits refused", p.limitedErr) {
		return
	}
	o.Traffic = []PolicyTraffic{}
	for _, l := range p.limited {
		if l.Namespace == o.Namespace && l.Policy == o.Name {
			o.Traffic = append(o.Traffic, PolicyTraffic{Result: ResultLimited, Unit: UnitRequest, Golden: Golden{RPS: l.Rate},
				Command: l.PromQL(p.query.Window)})
		}
	}
}

// lacks reports whether numbers could not be read, and then adds a note. The page shows equal notes once.
func (p *policies) lacks(what string, err error) bool {
	if err != nil {
		p.notes = append(p.notes, fmt.Sprintf("The %s are not shown: %v.", what, err))
	}
	return err != nil
}

// countRoutedConnections adds the connections that a TLSRoute or a TCPRoute routed.
func (p *policies) countRoutedConnections(o *PolicyObject) {
	if p.lacks("connections of TLSRoutes and TCPRoutes", p.connectionsErr) {
		return
	}
	o.Traffic = []PolicyTraffic{}
	for _, c := range p.connections {
		if c.Kind == o.Kind && c.Namespace == o.Namespace && c.Name == o.Name {
			o.Traffic = append(o.Traffic, PolicyTraffic{Result: ResultRouted, Unit: UnitConnection, Route: c.Name,
				Service: &Ref{Kind: "service", Namespace: c.Service.Namespace, Name: c.Service.Name}, Port: c.Service.Port,
				Golden: Golden{RPS: c.Rate}, Command: c.PromQL(p.query.Window)})
		}
	}
}

// countRouted adds the rows of `tulle viz routes` for the Services that a route is attached to.
func (p *policies) countRouted(o *PolicyObject, isOwn func(routes.Row) bool) {
	if p.routedErr != nil {
		return
	}
	for _, parent := range o.linked(RoleParent, "service") {
		if !slices.Contains(p.routedIn, parent.Namespace) && !slices.Contains(p.routedIn, "") {
			continue
		}
		o.Traffic = append([]PolicyTraffic{}, o.Traffic...)
		command := fmt.Sprintf("tulle viz routes svc/%s -n %s -o wide -t %s", parent.Name, parent.Namespace,
			WindowText(p.query.Window))
		for _, t := range p.routed {
			if t.Namespace != parent.Namespace || t.Name != parent.Name {
				continue
			}
			for _, r := range t.Rows {
				if isOwn(r) && (parent.Port == "" || parent.Port == r.Service.Port) {
					o.Traffic = append(o.Traffic, routedTraffic(r, parent.Ref, command))
				}
			}
		}
	}
}

func routedTraffic(r routes.Row, service Ref, command string) PolicyTraffic {
	t := PolicyTraffic{Result: ResultRouted, Unit: UnitRequest, Route: r.Route, Service: &service, Port: r.Service.Port,
		Golden: newGolden(r.Stats), Command: command}
	if r.Actual != nil {
		t.ActualSuccess, t.ActualRPS = &r.Actual.Success, &r.Actual.RPS
	}
	return t
}

// linked returns the links of a role to objects of a kind.
func (o *PolicyObject) linked(role, kind string) (out []PolicyLink) {
	for _, l := range o.Links {
		if l.Role == role && l.Kind == kind {
			out = append(out, l)
		}
	}
	return out
}
