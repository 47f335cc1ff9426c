package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAuthorization shows on a cluster who may call whom: each kind of authorization lets in its callers and nobody
// else, over HTTP, gRPC and bytes; each path is what it is however it is spelled; what was allowed ends when it no
// longer is.
func TestAuthorization(t *testing.T) {
	plain := map[string]string{}
	for _, ip := range podIPs(t, bareNS, "client") {
		if strings.Contains(ip, ":") {
			plain["6"] = ip + "/128"
		} else {
			plain["4"] = ip + "/32"
		}
	}
	cells := kindCells()
	cells = append(cells, networkCells(plain["4"], plain["6"])...)
	cells = append(cells, routeCells()...)
	cells = append(cells, flipCells()...)
	cells = append(cells, rateCells()...)
	g := serveGuarded(t, cells, fmt.Sprintf(", config.linkerd.io/opaque-ports: \"%d\"", 8100+
		indexOf(cells, "opaque-by-pod")), probes(cells))

	t.Run("table", func(t *testing.T) { g.testTable(t) })
	t.Run("probes", func(t *testing.T) { g.testProbes(t) })
	t.Run("deny under load", func(t *testing.T) { g.testDenyUnderLoad(t) })
	t.Run("rate limits", func(t *testing.T) { g.testRateLimits(t) })
}

func indexOf(cells []*cell, name string) int {
	for i, c := range cells {
		if c.name == name {
			return i
		}
	}
	panic("there is no cell " + name)
}

// testTable waits until every attempt has the wanted result. Some have it before their policy applies, so all are made
// once more then.
func (g *guarded) testTable(t *testing.T) {
	made := 0
	all := func() error {
		results, err := g.try(g.cells...)
		made = len(results)
		for _, r := range results {
			if wrong := r.problem(); wrong != "" {
				err = errors.Join(err, fmt.Errorf("%s: %s/%s by %s to %q %q%q: %s", r.name, r.by.namespace, r.by.deployment, r.how,
					r.to, r.target, r.raw, wrong))
			}
		}
		return err
	}
	eventually(t, 40*time.Second, all)
	if err := all(); err != nil {
		t.Error(err)
	}
	t.Logf("%d attempts in %d cells", made, len(g.cells))
}

// object renders an object of policy.linkerd.io, in flow style.
func object(version, kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: policy.linkerd.io/%s\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s\n---\n",
		version, kind, name, guardedNS, spec)
}

// admits is a ServerAuthorization for all Servers of the cell.
func admits(clients string) string {
	return object("v1beta1", "ServerAuthorization", "{cell}",
		`{server: {selector: {matchLabels: {cell: "{cell}"}}}, client: `+clients+`}`)
}

// requires is an AuthorizationPolicy for each Server of the cell.
func requires(refs string) (out string) {
	for _, suffix := range []string{"http", "grpc", "tcp"} {
		out += policyFor("{cell}-"+suffix, "policy.linkerd.io", "Server", refs)
	}
	return out
}

// policyFor is an AuthorizationPolicy that is named like its target.
func policyFor(target, group, kind, refs string) string {
	return object("v1alpha1", "AuthorizationPolicy", target+"-"+strings.ToLower(kind),
		fmt.Sprintf("{targetRef: {group: %s, kind: %s, name: %s}, requiredAuthenticationRefs: %s}", group, kind, target,
			refs))
}

// who and where are the authentications named after the cell.
const (
	who   = `{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: "{cell}"}`
	where = `{group: policy.linkerd.io, kind: NetworkAuthentication, name: "{cell}"}`
)

func identities(spec string) string {
	return object("v1alpha1", "MeshTLSAuthentication", "{cell}", spec)
}
func networks(list string) string {
	return object("v1alpha1", "NetworkAuthentication", "{cell}", "{networks: ["+list+"]}")
}

// byIdentity is a policy for the clients that spec of a MeshTLSAuthentication names.
func byIdentity(spec string) string { return requires("["+who+"]") + identities(spec) }

// kindCells has one cell for each kind of authorization and each way to name a client.
func kindCells() []*cell {
	return []*cell{
		{name: "deny", attempts: attempts(keptOut(web, evil, stranger, node),
			at("pod4", keptOut(web, stranger)), at("pod6", keptOut(web, stranger, node)), at("svc6", keptOut(web, stranger)))},
		{name: "saz-account", policies: admits(`{meshTLS: {serviceAccounts: [{name: web}]}}`),
			attempts: attempts(letIn(web), keptOut(web2, dotted, evil, stranger, node),
				at("pod4", letIn(web)), at("pod4", keptOut(web2, stranger)), at("pod6", letIn(web)),
				at("pod6", keptOut(evil, stranger)), at("svc6", letIn(web)))},
		{name: "saz-foreign-account", policies: admits(`{meshTLS: {serviceAccounts: [{name: web, namespace: ` + otherNS +
			`}]}}`), attempts: attempts(letIn(evil), keptOut(web, stranger))},
		{name: "saz-everybody-meshed", policies: admits(`{meshTLS: {identities: ["*"]}}`),
			attempts: attempts(letIn(web, evil), keptOut(stranger, node))},
		{name: "saz-namespace", policies: admits(
			`{meshTLS: {identities: ["*.guarded.serviceaccount.identity.tulle.cluster.local"]}}`),
			attempts: attempts(letIn(web, dotted), keptOut(evil, stranger))},
		{name: "saz-dotted",
			policies: admits(`{meshTLS: {identities: ["a.b.guarded.serviceaccount.identity.tulle.cluster.local"]}}`),
			attempts: attempts(letIn(dotted), keptOut(crossed, web))},
		{name: "saz-any-tls", policies: admits(`{meshTLS: {unauthenticatedTLS: true}}`),
			attempts: attempts(letIn(web, evil), keptOut(stranger))},
		{name: "saz-everybody", policies: admits(`{unauthenticated: true}`),
			attempts: attempts(letIn(web, evil, stranger, node), at("pod6", letIn(stranger)))},

		{name: "identity", policies: byIdentity(`{identities: ["web.guarded.serviceaccount.identity.tulle.cluster.local"]}`),
			attempts: attempts(letIn(web), keptOut(web2, evil, stranger))},
		{name: "identity-spiffe", policies: byIdentity(`{identities: ["spiffe://cluster.local/ns/guarded/sa/web2"]}`),
			attempts: attempts(letIn(web2), keptOut(web, evil, stranger))},
		{name: "identity-istio", policies: byIdentity(`{identities: ["cluster.local/ns/guarded-evil/sa/web"]}`),
			attempts: attempts(letIn(evil), keptOut(web, stranger))},
		{name: "identity-namespace", policies: byIdentity(`{identities: ["spiffe://cluster.local/ns/guarded/sa/*"]}`),
			attempts: attempts(letIn(web, dotted), keptOut(evil, stranger))},
		{name: "identity-domain", policies: byIdentity(`{identities: ["spiffe://cluster.local/*"]}`),
			attempts: attempts(letIn(web, evil), keptOut(stranger))},
		{name: "identity-elsewhere", policies: byIdentity(`{identities: ["spiffe://cluster.local.evil/ns/guarded/sa/web"]}`),
			attempts: keptOut(web, evil)},
		{name: "identity-account", policies: byIdentity(`{identityRefs: [{kind: ServiceAccount, name: a.b}]}`),
			attempts: attempts(letIn(dotted), keptOut(crossed, web, stranger))},
		{name: "identity-in-namespace", policies: byIdentity(`{identityRefs: [{kind: Namespace, name: guarded}]}`),
			attempts: attempts(letIn(web, crossed), keptOut(evil, stranger))},
		{name: "account", policies: requires(`[{kind: ServiceAccount, name: web, namespace: guarded-evil}]`),
			attempts: attempts(letIn(evil), keptOut(web, stranger))},
		{name: "nothing-required", policies: requires(`[]`), attempts: letIn(web, stranger, node)},
		{name: "missing", policies: requires(`[` + who + `]`), attempts: keptOut(web, stranger)},
		{name: "two-policies", policies: byIdentity(`{identities: ["spiffe://cluster.local/ns/guarded/sa/web"]}`) +
			admits(`{meshTLS: {serviceAccounts: [{name: web2}]}}`),
			attempts: attempts(letIn(web, web2), keptOut(dotted, evil, stranger))},

		// A policy on a namespace is for its Servers: in guarded-evil the Server of this cell is the only one.
		{name: "namespace", in: otherNS, policies: strings.ReplaceAll(policyFor(otherNS, `""`, "Namespace", "["+who+"]")+
			identities(`{identities: ["spiffe://cluster.local/ns/guarded/sa/web"]}`), "namespace: guarded}", "namespace: "+
			otherNS+"}"),
			attempts: attempts(letIn(web), keptOut(web2, evil, stranger))},

		{name: "all-authenticated", spec: map[string]string{"": "accessPolicy: all-authenticated"},
			attempts: attempts(letIn(web, evil), keptOut(stranger, node))},
		{name: "all-unauthenticated", spec: map[string]string{"": "accessPolicy: all-unauthenticated"},
			attempts: letIn(web, stranger, node)},
		{name: "cluster-authenticated", spec: map[string]string{"": "accessPolicy: cluster-authenticated"},
			attempts: attempts(letIn(web, evil), keptOut(stranger))},
		{name: "cluster-unauthenticated", spec: map[string]string{"": "accessPolicy: cluster-unauthenticated"},
			attempts: letIn(web, stranger)},
		{name: "audit", spec: map[string]string{"": "accessPolicy: audit"}, attempts: letIn(web, evil, stranger, node)},
	}
}

// networkCells let in by address. The stranger has the addresses plain4 and, on a cluster of both families, plain6.
func networkCells(plain4, plain6 string) []*cell {
	both := fmt.Sprintf("{cidr: %s}", plain4)
	other := `{cidr: "::/0"}`
	if plain6 != "" {
		both += fmt.Sprintf(", {cidr: %q}", plain6)
		other = fmt.Sprintf(`{cidr: "::/0", except: [%q]}`, plain6)
	}
	allBut := fmt.Sprintf("{cidr: 0.0.0.0/0, except: [%s]}", plain4)
	everywhere := `{cidr: 0.0.0.0/0}, {cidr: "::/0"}`
	return []*cell{
		{name: "network", policies: requires("["+where+"]") + networks(both),
			attempts: attempts(letIn(stranger), at("pod4", letIn(stranger)), at("pod6", letIn(stranger)),
				at("svc6", letIn(stranger)), keptOut(web, node))},
		{name: "network-except", policies: requires("["+where+"]") + networks(allBut+", "+other),
			attempts: attempts(keptOut(stranger), at("pod6", keptOut(stranger)), letIn(web, node),
				at("pod6", letIn(web, node)))},
		{name: "network-4", policies: requires("["+where+"]") + networks("{cidr: 0.0.0.0/0}"),
			attempts: attempts(at("pod4", letIn(stranger, web)), at("pod6", keptOut(stranger, web)))},
		{name: "network-6", policies: requires("["+where+"]") + networks(`{cidr: "::/0"}`),
			attempts: attempts(at("pod4", keptOut(stranger, web)), at("pod6", letIn(stranger, web)))},
		// IPv6 that embeds the digits of an IPv4 address is another address.
		{name: "network-embedded", policies: requires("["+where+"]") +
			networks(fmt.Sprintf(`{cidr: "::%s"}, {cidr: "64:ff9b::/96"}`, strings.TrimSuffix(plain4, "/32"))),
			attempts: attempts(keptOut(stranger), at("pod6", keptOut(stranger)))},
		{name: "network-and-identity", policies: requires("["+who+", "+where+"]") + networks(everywhere) +
			identities(`{identities: ["*"]}`),
			attempts: attempts(letIn(web), at("pod6", letIn(web)), keptOut(stranger, node))},
		{name: "network-of-another", policies: requires("["+who+", "+where+"]") + networks(both) +
			identities(`{identities: ["*"]}`), attempts: keptOut(web, stranger, node)},
		{name: "saz-network", policies: admits(`{unauthenticated: true, networks: [` + both + `]}`),
			attempts: attempts(letIn(stranger), at("pod6", letIn(stranger)), keptOut(web, node))},
		{name: "saz-network-meshed", policies: admits(`{meshTLS: {serviceAccounts: [{name: web}]}, networks: [` + allBut +
			`]}`),
			attempts: attempts(letIn(web), at("pod6", keptOut(web)), keptOut(web2, stranger))},
	}
}
