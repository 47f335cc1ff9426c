package board

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/cli/learn"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
	proxyauthz "github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/viz/authz"
)

// PolicyDenial is a client that policy denied at one port of a workload, why, and what would allow it.
type PolicyDenial struct {
	Workload Ref `json:"workload"`
	// Gone means that Workload is a pod that no longer exists, so its workload is not known.
	Gone bool   `json:"gone"`
	Port string `json:"port"`
	// Client is an identity as `tulle viz edges` writes it, as in web.shop; "" without one. ClientKind says what is known
	// of the client.
	Client     string `json:"client"`
	ClientKind string `json:"clientKind"`
	// Server is the Server that decided; nil for a port without one. AccessPolicy is that of the Server, or the default
	// of the port; "" if not known.
	Server       *PolicyLink `json:"server"`
	AccessPolicy string      `json:"accessPolicy"`
	// Route is the route that the requests matched; nil if none.
	Route *PolicyLink `json:"route"`
	// Reason is the label reason of the metrics.
	Reason string `json:"reason"`
	// RPS is the denied requests or connections per second. Unit is as in a PolicyTraffic.
	Unit string  `json:"unit"`
	RPS  float64 `json:"rps"`
	// Rule is a sentence about the rule that decided, and Remedy one about what would allow the client.
	Rule   string `json:"rule"`
	Remedy string `json:"remedy"`
	// Others are the authorizations that allow other clients there.
	Others []PolicyLink `json:"others"`
	// Try is a `tulle policy what-if` command with objects that would allow the client; "" if no objects would.
	Try string `json:"try"`
	// Logs is the command that shows the log lines of such denials.
	Logs string `json:"logs"`
	// Command is the PromQL of the number.
	Command string `json:"command"`
}

// What is known of a denied client.
const (
	ClientNamed    = "named"
	ClientNone     = "none"     // it proved no identity
	ClientHidden   = "hidden"   // the viewer may not read the client's namespace
	ClientOverflow = "overflow" // beyond the bound of the proxy's metrics
)

// denialKey has the fields by which the denials of a page differ.
type denialKey struct {
	workload Ref
	gone     bool
	authz.Denial
}

// denials returns the busiest of the denied clients, and how many others there are.
func (p *policies) denials(ctx context.Context, s Sources, objects []PolicyObject) (out []PolicyDenial, more int,
	err error) {
	out = []PolicyDenial{}
	if p.podsErr != nil {
		return out, 0, nil
	}
	workloads := map[Ref]Ref{}
	for _, pod := range p.pods {
		workloads[Ref{Namespace: pod.Namespace, Name: pod.Name}] = workloadOf(&pod)
	}
	rates := map[denialKey]float64{}
	for _, d := range p.clients.Denials {
		key := denialKey{Denial: d}
		var ok bool
		if key.workload, ok = workloads[Ref{Namespace: d.Namespace, Name: d.Pod}]; !ok { // the pod is gone
			key.workload, key.gone = Ref{Kind: "pod", Namespace: d.Namespace, Name: d.Pod}, true
		}
		key.Pod, key.Rate = "", 0
		rates[key] += d.Rate
	}
	keys := slices.SortedFunc(maps.Keys(rates), func(a, b denialKey) int {
		return cmp.Or(cmp.Compare(rates[b], rates[a]), compareRefs(a.workload, b.workload), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Server, b.Server), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Route.Name, b.Route.Name),
			cmp.Compare(a.Reason, b.Reason))
	})
	rights := newVisibility(ctx, s.Objects, topologyScope{namespaces: []string{p.query.Namespace}})
	e := &denialExplainer{policies: p, objects: objects, rights: rights}
	for _, key := range keys[:min(len(keys), maxDenials)] { // each is a search among the objects
		out = append(out, e.explain(key, rates[key]))
	}
	return out, len(keys) - len(out), rights.err
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// denialExplainer finds the rule that decided about a denial, and what would allow the client.
type denialExplainer struct {
	*policies
	objects []PolicyObject
	rights  *visibility
}

func (e *denialExplainer) explain(key denialKey, rate float64) PolicyDenial {
	d := PolicyDenial{Workload: key.workload, Port: key.Port, ClientKind: ClientNone, Reason: key.Reason,
		Unit: UnitRequest, RPS: rate, Others: []PolicyLink{}, Command: key.PromQL(e.query.Window)}
	if !key.gone && hasLogs(key.workload.Kind) && isName(key.workload.Name) && isName(key.workload.Namespace) {
		d.Logs = fmt.Sprintf("kubectl logs %s -n %s -c %s | grep denied", argument(key.workload), key.workload.Namespace,
			mesh.ProxyContainer)
	}
	if key.Opaque {
		d.Unit = UnitConnection
	}
	d.Gone = key.gone
	id, err := mesh.ParseID(key.Client)
	switch {
	case key.Overflow:
		d.ClientKind = ClientOverflow
	case key.Client == "":
	case err != nil || !e.maySee(id.Namespace):
		d.ClientKind, d.Command = ClientHidden, ""
	default:
		d.ClientKind, d.Client = ClientNamed, identityText(id)
	}
	if policy, ok := strings.CutPrefix(key.Server, "default:"); ok {
		d.AccessPolicy = policy
	} else {
		d.Server = e.find("Server", v1alpha1.PolicyGroup, key.workload.Namespace, key.Server)
		d.AccessPolicy = e.accessPolicy(d.Server.ID)
	}
	if key.Route.Name != "" {
		d.Route = e.find(key.Route.Kind, key.Route.Group, key.workload.Namespace, key.Route.Name)
	}
	e.addOthers(&d)
	d.Rule = ruleText(d)
	d.Remedy = remedyText(d)
	if d.ClientKind == ClientNamed && mayAuthorize(d) {
		d.Try = e.try(key, d, id)
	}
	return d
}

// maySee reports whether the viewer may list the pods of a namespace.
func (e *denialExplainer) maySee(namespace string) bool {
	read := e.query.Namespace == "" || e.query.Namespace == namespace
	return read || e.rights.mayRead("pod", namespace)
}

// hasLogs reports whether `kubectl logs` takes a kind. Owner references of pods can name any other kind.
func hasLogs(kind string) bool { return kind == "pod" || isWorkload(kind) && kind != "cronjob" }

// isName reports whether a name from metrics is a valid name of an object. Only such a name is put into a command.
func isName(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }

// find returns a link to an object that metrics name.
func (e *denialExplainer) find(kind, group, namespace, name string) *PolicyLink {
	l := &PolicyLink{Ref: Ref{Kind: kind, Namespace: namespace, Name: name}}
	if k, ok := kinds.Find(kinds.Configuration(), group, kind); ok {
		l.ID = policyID(k, namespace, name)
		l.Missing = e.object(l.ID) == nil && e.reads(l.ID)
	}
	return l
}

func (e *denialExplainer) object(id string) *PolicyObject {
	i := slices.IndexFunc(e.objects, func(o PolicyObject) bool { return o.ID == id })
	if i < 0 {
		return nil
	}
	return &e.objects[i]
}

func (e *denialExplainer) accessPolicy(id string) string {
	for _, s := range e.policies.objects {
		if t, ok := s.Object.(*v1alpha1.Server); ok && policyID(s.Kind, t.Namespace, t.Name) == id {
			return accessPolicyOf(t)
		}
	}
	return ""
}

// addOthers adds the authorizations of the Server, of the route and of the namespace.
func (e *denialExplainer) addOthers(d *PolicyDenial) {
	if d.Server == nil {
		return
	}
	for _, at := range []*PolicyLink{d.Route, d.Server} {
		if at == nil || e.object(at.ID) == nil {
			continue
		}
		d.Others = append(d.Others, e.object(at.ID).linked(RoleBy, "AuthorizationPolicy")...)
		d.Others = append(d.Others, e.object(at.ID).linked(RoleBy, "ServerAuthorization")...)
	}
	for _, o := range e.objects {
		for _, l := range o.linked(RoleTarget, "namespace") {
			if o.Namespace == d.Workload.Namespace && l.Name == o.Namespace {
				d.Others = append(d.Others, PolicyLink{Role: RoleBy, Ref: o.Ref, ID: o.ID})
			}
		}
	}
}

// mayAuthorize reports whether an authorization of its identity would allow the client.
func mayAuthorize(d PolicyDenial) bool {
	switch proxyauthz.Reason(d.Reason) {
	case proxyauthz.NotAuthorized:
		return d.Server != nil
	case proxyauthz.Denied:
		return true
	}
	return false
}

// try returns the what-if command with objects that would allow the client; "" if a name is not valid. The objects
// stand in a quoted here-document, in which the shell expands nothing, because their names come from the cluster.
func (e *denialExplainer) try(key denialKey, d PolicyDenial, id mesh.ID) string {
	permission := learn.Permission{Client: id, Taken: map[mesh.Ref]bool{}, Opaque: key.Opaque}
	namespace := key.workload.Namespace
	switch {
	case d.Route != nil && !d.Route.Missing && d.Route.ID != "":
		permission.Target = mesh.Ref{Group: key.Route.Group, Kind: key.Route.Kind, Namespace: namespace, Name: key.Route.Name}
	case d.Server != nil && !d.Server.Missing:
		permission.Target = mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: "Server", Namespace: namespace, Name: key.Server}
	case d.Server == nil:
		port, err := strconv.ParseUint(key.Port, 10, 16)
		if err != nil || port == 0 || !e.labelled(key.workload) {
			return ""
		}
		permission.Port = uint16(port)
		permission.Workload = learn.Workload{Namespace: namespace, Kind: key.workload.Kind, Name: key.workload.Name}
	default:
		return ""
	}
	if !isName(namespace) || !isName(cmp.Or(permission.Target.Name, permission.Workload.Name)) {
		return ""
	}
	for _, o := range e.objects {
		permission.Taken[mesh.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}] = true
	}
	var manifest bytes.Buffer
	if learn.Allow(permission).Write(&manifest, fmt.Sprintf("Allows %s at port %s of %s.", id, key.Port,
		argument(key.workload))) != nil {
		return ""
	}
	return fmt.Sprintf("tulle policy what-if -t %s -f - <<'EOF'\n%sEOF", WindowText(e.query.Window), manifest.String())
}

// labelled reports whether the injector's label selects the pods of a workload.
func (e *denialExplainer) labelled(workload Ref) bool {
	for i := range e.pods {
		if kind, name := podowner.Labelled(&e.pods[i]); kind == workload.Kind && name == workload.Name &&
			e.pods[i].Namespace == workload.Namespace {
			return true
		}
	}
	return false
}

// ruleText returns a sentence about the rule that decided.
func ruleText(d PolicyDenial) string {
	if d.Server == nil {
		return fmt.Sprintf("No Server selects port %s. The default inbound policy %s decides.", d.Port, d.AccessPolicy)
	}
	where := "Server " + d.Server.Name
	if d.Route != nil {
		where = fmt.Sprintf("%s %s at Server %s", d.Route.Kind, d.Route.Name, d.Server.Name)
	}
	policy := ""
	if d.Server.Missing {
		policy = " (gone now)"
	} else if d.AccessPolicy != "" {
		policy = fmt.Sprintf(" (accessPolicy %s)", d.AccessPolicy)
	}
	switch proxyauthz.Reason(d.Reason) {
	case proxyauthz.NotAuthorized:
		return fmt.Sprintf("No authorization of %s%s names this client.", where, policy)
	case proxyauthz.Denied:
		return fmt.Sprintf("%s%s has no authorization at all.", where, policy)
	case proxyauthz.NoIdentity:
		return fmt.Sprintf("%s%s allows only clients with an identity.", where, policy)
	case proxyauthz.OutsideNetworks:
		return fmt.Sprintf("The authorizations of %s%s that name this client do not include its address.", where, policy)
	}
	return where + " decides: " + proxyauthz.Reason(d.Reason).Explain() + "."
}

// remedyText returns a sentence about what would allow the client.
func remedyText(d PolicyDenial) string {
	const byAddress = "If it cannot be meshed, authorize its address with a NetworkAuthentication. The log of the proxy " +
		"has the address."
	switch reason := proxyauthz.Reason(d.Reason); {
	case d.ClientKind == ClientNone && (mayAuthorize(d) || reason == proxyauthz.NoIdentity):
		return "Mesh the client, and authorize its identity. " + byAddress
	case d.ClientKind == ClientOverflow:
		return "The proxy has more clients than its metrics have room for. Its log has their identities."
	case d.ClientKind == ClientHidden && mayAuthorize(d):
		return "An AuthorizationPolicy for the client's identity. It is not shown, because you may not read its namespace."
	case d.Server != nil && d.Server.Missing:
		return "The Server is gone. The numbers of the next minutes show what decides now."
	case mayAuthorize(d) && d.Server == nil:
		return fmt.Sprintf("A Server for port %s, and an AuthorizationPolicy for the identity %s.", d.Port, d.Client)
	case mayAuthorize(d) && d.Route != nil:
		return fmt.Sprintf("An AuthorizationPolicy for the identity %s at %s %s.", d.Client, d.Route.Kind, d.Route.Name)
	case mayAuthorize(d):
		return fmt.Sprintf("An AuthorizationPolicy for the identity %s at Server %s.", d.Client, d.Server.Name)
	case reason == proxyauthz.OutsideNetworks:
		return "Add the client's address to the networks of these authorizations. The log of the proxy has the address."
	case reason == proxyauthz.OutsideCluster:
		return "Add the client's address to clusterNetworks of the installation, or select the port with a Server and " +
			"authorize the address. The log of the proxy has the address."
	}
	return "An authorization would not help. The documentation of authorization explains the reason " + d.Reason + "."
}
