package convert

import (
	"math/big"
	"strings"
)

// trafficSplit makes an HTTPRoute of a TrafficSplit. Source: SMI TrafficSplit v1alpha1 (quantities) and v1alpha2
// (numbers).
func trafficSplit(o *object) []map[string]any {
	root := o.spec().at("service").text()
	port := o.servicePort(root, o.namespace, o.spec().at("service"))
	var weights []*big.Rat
	var names []string
	for _, b := range o.spec().at("backends").items() {
		names = append(names, b.at("service").text())
		weight, ok := quantity(b.at("weight").text())
		if !ok {
			b.at("weight").drop("weight %q is no quantity", b.at("weight").text())
			weight = new(big.Rat)
		}
		weights = append(weights, weight)
	}
	var backends []any
	scaled := whole(weights)
	for i, name := range names {
		backends = append(backends, backendRef(name, o.servicePort(name, o.namespace, o.spec().at("backends")), scaled[i]))
	}
	rule := map[string]any{"backendRefs": backends}
	if matches := o.spec().at("matches"); matches.exists() {
		matches.drop("an HTTPRouteGroup's matches belong into the route's rules")
	}
	o.became("", "HTTPRoute %s on Service %s", o.name, root)
	return []map[string]any{manifest(gatewayAPI, "HTTPRoute", o.namespace, o.name, map[string]any{
		"parentRefs": []any{parentService(root, port)}, "rules": []any{rule},
	})}
}

// quantity reads a Kubernetes quantity with an SI suffix, as splits use it.
func quantity(s string) (*big.Rat, bool) {
	scale := big.NewRat(1, 1)
	if rest, ok := strings.CutSuffix(s, "m"); ok {
		s, scale = rest, big.NewRat(1, 1000)
	} else if rest, ok := strings.CutSuffix(s, "k"); ok {
		s, scale = rest, big.NewRat(1000, 1)
	}
	v, ok := new(big.Rat).SetString(s)
	if !ok || v.Sign() < 0 {
		return nil, false
	}
	return v.Mul(v, scale), true
}

// whole makes whole numbers of weights: thousandths where there is a fraction, as 900m and 100m say 900 to 100.
func whole(weights []*big.Rat) []int {
	scale := big.NewRat(1, 1)
	for _, w := range weights {
		if !w.IsInt() {
			scale.SetInt64(1000)
		}
	}
	out := make([]int, len(weights))
	for i, w := range weights {
		f, _ := new(big.Rat).Mul(w, scale).Float64()
		out[i] = int(f + 0.5)
	}
	return out
}

func backendRef(service string, port, weight int) map[string]any {
	return map[string]any{"name": service, "port": port, "weight": weight}
}

func parentService(service string, port int) map[string]any {
	return map[string]any{"group": "", "kind": "Service", "name": service, "port": port}
}

// servicePort returns the port of a Service: that of the input's Service with the name, else the assumed one, which is
// reported once.
func (o *object) servicePort(name, namespace string, from node) int {
	if svc := o.find("Service", namespace, name); svc != nil {
		spec := node{newObject(o.conversion, svc), svc["spec"], "spec"}
		for _, p := range spec.at("ports").items() {
			return p.at("port").number(o.options.Port)
		}
	}
	o.assumePort(from)
	return o.options.Port
}

func (o *object) assumePort(from node) {
	if o.assumed {
		return
	}
	o.assumed = true
	from.nearly("the input does not tell the port, which is taken to be %d (--port)", o.options.Port)
}
