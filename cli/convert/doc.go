// Package convert turns manifests of other meshes, and those that tutorials invented, into manifests of this one.
//
// It owns the translation and its report: Istio's and SMI's kinds, the fields that Linkerd never had. It works on trees
// of decoded YAML and imports mesh only; reading, writing and asking a cluster is its caller's business. The one idea:
// a field is converted by being read, so whatever no converter has read is reported as dropped, and nothing is lost in
// silence.
package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Conversion says what became of a field.
type Conversion string

// The conversions. Unchanged is for what is valid here as it stands.
const (
	Unchanged    Conversion = "kept"
	Converted    Conversion = "converted"
	Approximated Conversion = "approximated"
	Dropped      Conversion = "dropped"
)

// Finding is what became of one field of one object.
type Finding struct {
	// Object is kind/name, Field the JSON path in it; an empty Field is the whole object.
	Object, Field string
	Conversion    Conversion
	// Message says what it became, or what to do instead.
	Message string
}

// Options are what a manifest cannot say itself. The zero value is usable.
type Options struct {
	// Port of Services that no manifest of the input describes; 0 means 80.
	Port int
	// FaultUntil is when injected faults end. Zero drops them: a fault without an end is refused by the mesh.
	FaultUntil time.Time
}

// Result is the output manifests and the report, both in the order of the input.
type Result struct {
	Objects  []map[string]any
	Findings []Finding
}

// Lossy reports whether something was dropped.
func (r *Result) Lossy() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Conversion == Dropped })
}

// converter turns one object into others.
type converter func(*object) []map[string]any

// kind is the group and kind of an object; versions of a kind are read alike.
type kind struct{ group, kind string }

// converters is every kind that is not passed on as it is.
var converters = map[kind]converter{
	{"split.smi-spec.io", "TrafficSplit"}:          trafficSplit,
	{"security.linkerd.io", "Server"}:              inventedServer,
	{"security.linkerd.io", "AuthorizationPolicy"}: inventedPolicy,
	{"policy.linkerd.io", "Server"}:                server,
	{"policy.linkerd.io", "ServerAuthorization"}:   serverAuthorization,
	{"policy.linkerd.io", "MeshTLSAuthentication"}: meshTLSAuthentication,
	{"policy.linkerd.io", "HTTPRoute"}:             policyRoute,
	{"linkerd.io", "ServiceProfile"}:               serviceProfile,
	{"networking.istio.io", "VirtualService"}:      virtualService,
	{"networking.istio.io", "DestinationRule"}:     destinationRule,
	{"networking.istio.io", "EnvoyFilter"}:         envoyFilter,
	{"security.istio.io", "PeerAuthentication"}:    peerAuthentication,
	{"security.istio.io", "AuthorizationPolicy"}:   istioPolicy,
	{"telemetry.istio.io", "Telemetry"}:            telemetry,
	{"monitoring.coreos.com", "ServiceMonitor"}:    serviceMonitor,
	{"opentelemetry.io", "OpenTelemetryCollector"}: collector,
	{"networking.istio.io", "Gateway"}: unsupported("run an ingress or a Gateway API controller; its " +
		"pods can be meshed"),
	{"networking.istio.io", "ServiceEntry"}: unsupported("traffic to addresses outside the cluster is " +
		"forwarded as it is and needs no object"),
	{"networking.istio.io", "Sidecar"}: unsupported("a proxy asks only for the addresses that its pod " +
		"uses, so there is nothing to narrow"),
	{"networking.istio.io", "WorkloadEntry"}: unsupported("workloads outside the cluster are not part of the " +
		"mesh"),
	{"networking.istio.io", "ProxyConfig"}: unsupported("use the config.linkerd.io annotations; see " +
		"docs/annotations.md"),
	{"security.istio.io", "RequestAuthentication"}: unsupported("tokens are not verified by the mesh; verify them in " +
		"the application or at the gateway"),
	{"extensions.istio.io", "WasmPlugin"}:            unsupported("the proxy runs no extensions"),
	{"security.linkerd.io", "MeshTLSAuthentication"}: regroup("policy.linkerd.io/v1alpha1"),
}

// Convert translates the objects. Objects of other kinds are passed on, with what is wrong in their annotations
// reported, and without what a cluster added to them.
func Convert(objects []map[string]any, o Options) *Result {
	objects = slices.Clone(objects)
	for i, tree := range objects {
		objects[i] = Written(tree)
	}
	c := &conversion{options: o, input: objects, result: &Result{}, servers: map[string]map[string]any{}}
	if c.options.Port == 0 {
		c.options.Port = 80
	}
	for _, tree := range objects {
		c.convert(tree)
	}
	c.finish()
	return c.result
}

// conversion is one run.
type conversion struct {
	options Options
	input   []map[string]any
	result  *Result
	servers map[string]map[string]any // the Servers that were made, by namespace, selector and port
}

func (c *conversion) convert(tree map[string]any) {
	o := newObject(c, tree)
	convert, ok := converters[kind{o.group, o.kind}]
	switch {
	case ok:
		made := convert(o)
		o.reportUnread()
		c.result.Objects = append(c.result.Objects, made...)
	case strings.HasSuffix(o.group, ".istio.io"):
		o.drop("", "this kind of Istio's has no counterpart")
	case o.group == "security.linkerd.io":
		o.drop("", "Linkerd has no group security.linkerd.io; its policies are in policy.linkerd.io")
	default:
		c.result.Objects = append(c.result.Objects, passed(o))
	}
}

// finish merges what several objects of the input say of one: annotations of a Namespace or a Service that the input
// holds, too.
func (c *conversion) finish() {
	var out []map[string]any
	byKey := map[string]map[string]any{}
	for _, tree := range c.result.Objects {
		k := key(tree)
		earlier := byKey[k]
		if earlier == nil {
			byKey[k] = tree
			out = append(out, tree)
			continue
		}
		merge(earlier, tree)
	}
	c.result.Objects = out
}

func key(tree map[string]any) string {
	meta, _ := tree["metadata"].(map[string]any)
	return fmt.Sprint(tree["apiVersion"], "\x00", tree["kind"], "\x00", meta["namespace"], "\x00", meta["name"])
}

// merge adds what is in from to into; where both say something, into wins, but the stricter of two inbound policies.
func merge(into, from map[string]any) {
	for k, v := range from {
		a, okA := into[k].(map[string]any)
		b, okB := v.(map[string]any)
		earlier, ok := into[k]
		switch {
		case okA && okB:
			merge(a, b)
		case !ok:
			into[k] = v
		case k == inboundPolicy:
			into[k] = stricter(text(earlier), text(v))
		}
	}
}

// find returns an object of the input.
func (c *conversion) find(kind, namespace, name string) map[string]any {
	for _, tree := range c.input {
		meta, _ := tree["metadata"].(map[string]any)
		if tree["kind"] == kind && meta["name"] == name && cmp.Or(text(meta["namespace"]), "") == namespace {
			return tree
		}
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// manifest makes an object of the output; namespace "" leaves it out.
func manifest(apiVersion, kind, namespace, name string, spec map[string]any) map[string]any {
	meta := map[string]any{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	tree := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	if spec != nil {
		tree["spec"] = spec
	}
	return tree
}

// annotated sets annotations of an object of the output.
func annotated(tree map[string]any, annotations map[string]any) map[string]any {
	if len(annotations) == 0 {
		return tree
	}
	meta := tree["metadata"].(map[string]any)
	existing, _ := meta["annotations"].(map[string]any)
	if existing == nil {
		existing = map[string]any{}
		meta["annotations"] = existing
	}
	maps.Copy(existing, annotations)
	return tree
}

// unsupported drops the whole object and says what to do instead.
func unsupported(instead string) converter {
	return func(o *object) []map[string]any {
		o.drop("", "%s", instead)
		return nil
	}
}
