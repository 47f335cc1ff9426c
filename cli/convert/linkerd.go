package convert

import (
	"maps"
	"strings"
)

const (
	policyAlpha = "policy.linkerd.io/v1alpha1"
	serverAPI   = "policy.linkerd.io/v1beta3"
	gatewayAPI  = "gateway.networking.k8s.io/v1"
)

// regroup passes an object on under another apiVersion.
func regroup(apiVersion string) converter {
	return func(o *object) []map[string]any {
		o.spec().done()
		o.became("apiVersion", "%s", apiVersion)
		return []map[string]any{withVersion(o.tree, apiVersion)}
	}
}

func withVersion(tree map[string]any, apiVersion string) map[string]any {
	out := maps.Clone(tree)
	out["apiVersion"] = apiVersion
	return out
}

// inventedServer reads a Server of the group security.linkerd.io, which tutorials use and no release of Linkerd has
// had.
func inventedServer(o *object) []map[string]any {
	o.became("apiVersion", "%s: the group security.linkerd.io does not exist", serverAPI)
	return []map[string]any{manifest(serverAPI, "Server", o.namespace, o.name, o.serverSpec())}
}

// server upgrades a Server to the version that has accessPolicy, and translates a clientAuth that tutorials put there.
func server(o *object) []map[string]any {
	if o.tree["apiVersion"] == serverAPI && !o.spec().at("clientAuth").exists() {
		o.spec().done()
		o.unchanged("", "valid as it is")
		return []map[string]any{o.tree}
	}
	if o.tree["apiVersion"] != serverAPI {
		o.became("apiVersion", "%s: the older versions are served, but deprecated", serverAPI)
	}
	return []map[string]any{manifest(serverAPI, "Server", o.namespace, o.name, o.serverSpec())}
}

// serverSpec copies what a Server has and turns clientAuth.mode into an access policy.
func (o *object) serverSpec() map[string]any {
	spec := map[string]any{}
	for _, k := range []string{"podSelector", "externalWorkloadSelector", "port", "proxyProtocol", "accessPolicy"} {
		if n := o.spec().at(k); n.exists() {
			spec[k] = n.raw()
		}
	}
	mode := o.spec().at("clientAuth", "mode")
	if !mode.exists() {
		return spec
	}
	switch mode.text() {
	case "REQUIRED":
		spec["accessPolicy"] = "all-authenticated"
	case "OPTIONAL", "DISABLED", "NONE":
		spec["accessPolicy"] = "all-unauthenticated"
	default:
		o.drop(mode.path, "mode %q: REQUIRED is accessPolicy all-authenticated, OPTIONAL is all-unauthenticated", mode.text())
		return spec
	}
	o.became(mode.path, "accessPolicy: %s", spec["accessPolicy"])
	return spec
}

// inventedPolicy reads an AuthorizationPolicy of the group security.linkerd.io.
func inventedPolicy(o *object) []map[string]any {
	o.became("apiVersion", "%s", policyAlpha)
	target := o.spec().at("targetRef")
	ref := map[string]any{"group": "policy.linkerd.io", "kind": target.at("kind").text(), "name": target.at("name").text()}
	target.at("group").done()
	list := o.spec().at("requiredAuthenticationRefs")
	if invented := o.spec().at("requiredServerRefs"); invented.exists() {
		o.became(invented.path, "requiredAuthenticationRefs")
		list = invented
	}
	var refs []any
	var out []map[string]any
	for _, item := range list.items() {
		kind, name := item.at("kind").text(), item.at("name").text()
		item.at("group").done()
		if kind == "MeshTLS" {
			kind = "MeshTLSAuthentication"
			o.became(item.path+".kind", "%s", kind)
		}
		refs = append(refs, map[string]any{"group": "policy.linkerd.io", "kind": kind, "name": name})
		if kind == "MeshTLSAuthentication" && o.find(kind, o.namespace, name) == nil {
			o.nearly(item.path, "%s %q is not defined: one that lets in every meshed client is written; name the identities "+
				"that you mean", kind, name)
			out = append(out, manifest(policyAlpha, kind, o.namespace, name, map[string]any{"identities": []any{"*"}}))
		}
	}
	policy := manifest(policyAlpha, "AuthorizationPolicy", o.namespace, o.name,
		map[string]any{"targetRef": ref, "requiredAuthenticationRefs": refs})
	return append(out, policy)
}

// serverAuthorization is valid; one that opens its Server to everybody is worth a word.
func serverAuthorization(o *object) []map[string]any {
	if o.spec().at("client", "unauthenticated").text() == "true" {
		o.unchanged("spec.client.unauthenticated", "valid: it lets in every client, without mutual TLS too")
	} else {
		o.unchanged("", "valid as it is")
	}
	o.spec().done()
	return []map[string]any{withVersion(o.tree, "policy.linkerd.io/v1beta1")}
}

// meshTLSAuthentication writes identities in the SPIFFE spelling; the others are accepted as well.
func meshTLSAuthentication(o *object) []map[string]any {
	changed := false
	var identities []any
	for _, item := range o.spec().at("identities").items() {
		id := spiffe(item.text())
		if id != item.text() {
			changed = true
			o.became(item.path, "%s", id)
		}
		identities = append(identities, id)
	}
	o.spec().done()
	if !changed {
		o.unchanged("", "valid as it is")
		return []map[string]any{o.tree}
	}
	tree := manifest(policyAlpha, "MeshTLSAuthentication", o.namespace, o.name, map[string]any{"identities": identities})
	if refs := o.spec().at("identityRefs"); refs.exists() {
		tree["spec"].(map[string]any)["identityRefs"] = refs.raw()
	}
	return []map[string]any{tree}
}

// spiffe writes Istio's principal as a SPIFFE ID; everything else is left as it is.
func spiffe(identity string) string {
	if parts := strings.Split(identity, "/"); len(parts) == 5 && parts[1] == "ns" && parts[3] == "sa" {
		return "spiffe://" + identity
	}
	return identity
}

// policyRoute is valid in its own group, whatever a tutorial calls it.
func policyRoute(o *object) []map[string]any {
	o.spec().done()
	o.unchanged("", "valid: a route of the group policy.linkerd.io, which is not Gateway API's own; "+
		"gateway.networking.k8s.io/v1 has more filters")
	return []map[string]any{o.tree}
}

// serviceProfile is valid; what it says that has no effect is reported.
func serviceProfile(o *object) []map[string]any {
	o.unchanged("", "valid as it is")
	for _, route := range o.spec().at("routes").items() {
		retryable := route.at("isRetryable").text() == "true"
		if budget := route.at("retryBudget"); budget.exists() {
			o.unchanged(budget.path, "accepted here, for this route alone; Linkerd knows it at spec.retryBudget only")
			if !retryable {
				budget.nearly("a budget without isRetryable: true: nothing is retried")
			}
		}
		name, path := route.at("name").text(), route.at("condition", "pathRegex").text()
		if _, bare, ok := strings.Cut(name, " "); ok && bare != path && path == bare+"/.*" {
			route.at("condition", "pathRegex").nearly("%q does not match %q itself; %q matches both", path, bare, bare+"(/.*)?")
		}
	}
	if o.spec().at("retryBudget").exists() && !hasRetryable(o) {
		o.spec().at("retryBudget").nearly("no route has isRetryable: true: nothing is retried")
	}
	o.spec().done()
	return []map[string]any{o.tree}
}

func hasRetryable(o *object) bool {
	for _, route := range o.spec().at("routes").items() {
		if route.at("isRetryable").text() == "true" {
			return true
		}
	}
	return false
}
