package convert

import (
	"cmp"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// trafficSplit makes an HTTPRoute of a TrafficSplit. Source: SMI TrafficSplit v1alpha1 (quantities) and v1alpha2 (numbers). A split that
// cannot be converted whole is dropped: its shares would be others, or be those of other requests.
func trafficSplit(o *object) []map[string]any {
	spec := o.spec()
	root, ok := o.splitService(spec.at("service"))
	if spec.at("matches").exists() {
		o.drop("", "it is for some requests only: write an HTTPRoute with the matches of the HTTPRouteGroup in its rules")
		return nil
	}
	var weights []*big.Rat
	var names []string
	for _, b := range spec.at("backends").items() {
		name, known := o.splitService(b.at("service"))
		weight, number := quantity(b.at("weight").text())
		if !known || !number {
			o.drop("", "backend %q with weight %q: want the name of a Service of its namespace, and a number", b.at("service").text(), b.at("weight").text())
			return nil
		}
		names, weights = append(names, name), append(weights, weight)
	}
	if !ok || len(names) == 0 || len(names) > maxBackends {
		o.drop("", "service %q with %d backends: want a Service of its namespace, and 1 to %d backends", spec.at("service").text(), len(names), maxBackends)
		return nil
	}
	port := o.servicePort(root, o.namespace, spec.at("service"))
	var backends []any
	scaled := whole(weights)
	for i, name := range names {
		backends = append(backends, backendRef(name, o.servicePort(name, o.namespace, spec.at("backends")), scaled[i]))
	}
	o.became("", "HTTPRoute %s on Service %s", o.name, root)
	return []map[string]any{manifest(gatewayAPI, "HTTPRoute", o.namespace, o.name, map[string]any{
		"parentRefs": []any{parentService(root, port)}, "rules": []any{map[string]any{"backendRefs": backends}},
	})}
}

// splitService returns the name of a split's Service, which may be written as a name of the DNS; ok is false for one of another namespace.
func (o *object) splitService(n node) (name string, ok bool) {
	name, namespace, ok := o.service(n.text())
	return name, ok && namespace == o.namespace
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

// servicePort returns the port of a Service: that of the input's Service with the name, else the assumed one, which is reported once. Of
// several ports it is the one that --port names, else the only one for HTTP by its name or its appProtocol, else the first.
func (o *object) servicePort(name, namespace string, from node) int {
	svc := o.find("Service", namespace, name)
	if svc == nil {
		o.assumePort(from)
		return o.options.Port
	}
	var all, http []int
	for _, p := range newObject(o.conversion, svc).spec().at("ports").items() {
		number := p.at("port").number(o.options.Port)
		if !isTCP(p) {
			continue
		}
		if number == o.options.Port && !o.portIsGuess {
			return number
		}
		all = append(all, number)
		if httpPort.MatchString(cmp.Or(p.at("appProtocol").text(), p.at("name").text())) {
			http = append(http, number)
		}
	}
	switch {
	case len(all) == 0:
		o.assumePort(from)
		return o.options.Port
	case len(all) == 1:
		return all[0]
	case len(http) == 1:
		return http[0]
	}
	from.nearly("Service %s has the ports %s, and %d is taken: name another with --port, or write one more for each other port", name,
		strings.Trim(fmt.Sprint(all), "[]"), all[0])
	return all[0]
}

// httpPort is the name of a Service's port, or its appProtocol, that Istio takes for HTTP. Source: Istio, "Protocol Selection".
var httpPort = regexp.MustCompile(`^(kubernetes\.io/)?(http|http2|h2c|grpc|grpc-web)(-.*)?$`)

func (o *object) assumePort(from node) {
	if o.assumed {
		return
	}
	o.assumed = true
	from.nearly("the input does not tell the port, which is taken to be %d (--port)", o.options.Port)
}
