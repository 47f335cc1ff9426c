package explain

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Authorization is one way in to a Server, or its lack.
type Authorization struct {
	Route               string `json:"route"`
	Server              string `json:"server"`
	Port                uint16 `json:"port"`
	AccessPolicy        string `json:"accessPolicy"`
	AuthorizationPolicy string `json:"authorizationPolicy,omitempty"`
	ServerAuthorization string `json:"serverAuthorization,omitempty"`
}

// Authorizations returns those of all pods, each once, by Server and route.
func (m *Model) Authorizations(pods []corev1.Pod) []Authorization {
	found := map[Authorization]bool{}
	for i := range pods {
		in := m.Inbound(&pods[i])
		if in == nil {
			continue
		}
		for number, port := range in.Ports {
			if port.Server != (mesh.Ref{}) {
				addRows(found, number, port)
			}
		}
	}
	rows := slices.SortedFunc(maps.Keys(found), func(a, b Authorization) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.AuthorizationPolicy, b.AuthorizationPolicy), cmp.Compare(a.ServerAuthorization, b.ServerAuthorization))
	})
	if rows == nil {
		rows = []Authorization{}
	}
	return rows
}

func addRows(found map[Authorization]bool, number uint16, port mesh.PortPolicy) {
	add := func(route string, list []mesh.Authorization) {
		row := Authorization{Route: route, Server: port.Server.Name, Port: number, AccessPolicy: string(port.Policy)}
		if len(list) == 0 {
			found[row] = true
		}
		for _, a := range list {
			row.AuthorizationPolicy, row.ServerAuthorization = a.Ref.Name, ""
			if a.Ref.Kind == "ServerAuthorization" {
				row.AuthorizationPolicy, row.ServerAuthorization = "", a.Ref.Name
			}
			found[row] = true
		}
	}
	for _, r := range port.Routes {
		add(r.Route.Ref.Name, r.Authorizations)
	}
	if len(port.Authorizations) > 0 || len(port.Routes) == 0 {
		add("*", port.Authorizations)
	}
}

// Defaults returns the default policies of the pods, each once.
func (m *Model) Defaults(pods []corev1.Pod) []string {
	var out []string
	for i := range pods {
		if in := m.Inbound(&pods[i]); in != nil && !slices.Contains(out, string(in.Default.Policy)) {
			out = append(out, string(in.Default.Policy))
		}
	}
	slices.Sort(out)
	return out
}
