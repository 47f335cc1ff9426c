package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Mistyped is a field whose value is of another type than its definition says, or that the definition does not have.
type Mistyped struct {
	// Path leads to the field: keys and, for items of lists, [n].
	Path []string
	// Want is the type, with its article.
	Want string
	// Text says that the field is a string: quotes mend a scalar.
	Text bool
	// Known are the fields that there are, where the one at Path is none of them.
	Known []string
	// OneOf says that the object at Path has several of the fields in Known, and may have only one.
	OneOf bool
}

// CheckTypes returns the fields of an object that a converter would misread. Their values have another type: YAML reads
// an unquoted y, on or 1.0 as no string. Or they are misspelled where the object says something else without them: a
// match that has no condition matches everything. The API server refuses such an object where it has the kind's
// definition.
func CheckTypes(tree map[string]any) []Mistyped {
	o := newObject(nil, tree)
	s, ok := schemas[kind{o.group, o.kind}]
	if !ok {
		return nil
	}
	return s.check(tree["spec"], []string{"spec"})
}

// schema is the type of a field.
type schema interface {
	check(v any, path []string) []Mistyped
}

// scalar is a schema of one value.
type scalar struct {
	want string
	is   func(v any) bool
}

// message has known fields. Others are not checked: a converter reports them as dropped.
type message map[string]schema

// closed is a message whose fields are all known, so that another one is a typo; oneOf is a closed message that has one
// field at most.
type (
	closed message
	oneOf  message
)

// mapOf has any keys, listOf any number of items.
type (
	mapOf  struct{ value schema }
	listOf struct{ item schema }
)

func (s scalar) check(v any, path []string) []Mistyped {
	if v == nil || s.is(v) { // the API server drops null
		return nil
	}
	return []Mistyped{{Path: path, Want: s.want, Text: s.want == str.want}}
}

func (s message) check(v any, path []string) []Mistyped {
	return checkObject(v, path, func(key string) schema { return s[key] })
}

func (s closed) check(v any, path []string) (wrong []Mistyped) {
	fields, _ := v.(map[string]any)
	for _, key := range keys(fields) {
		if s[key] == nil {
			wrong = append(wrong, Mistyped{Path: append(slices.Clone(path), key), Known: slices.Sorted(maps.Keys(s))})
		}
	}
	return append(wrong, message(s).check(v, path)...)
}

func (s oneOf) check(v any, path []string) []Mistyped {
	wrong := closed(s).check(v, path)
	if fields, _ := v.(map[string]any); len(fields) > 1 && wrong == nil {
		return []Mistyped{{Path: path, Known: slices.Sorted(maps.Keys(s)), OneOf: true}}
	}
	return wrong
}

func (s mapOf) check(v any, path []string) []Mistyped {
	return checkObject(v, path, func(string) schema { return s.value })
}

func checkObject(v any, path []string, of func(key string) schema) (wrong []Mistyped) {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return []Mistyped{{Path: path, Want: "an object"}}
	}
	for _, key := range keys(m) {
		if s := of(key); s != nil {
			wrong = append(wrong, s.check(m[key], append(slices.Clone(path), key))...)
		}
	}
	return wrong
}

// anything is a field that no converter reads.
type anything struct{}

func (anything) check(any, []string) []Mistyped { return nil }

func (s listOf) check(v any, path []string) (wrong []Mistyped) {
	list, ok := v.([]any)
	if !ok && v != nil {
		return []Mistyped{{Path: path, Want: "a list"}}
	}
	for i, item := range list {
		wrong = append(wrong, s.item.check(item, append(slices.Clone(path), fmt.Sprintf("[%d]", i)))...)
	}
	return wrong
}

// The scalars. A duration is what a Gateway API duration can say (GEP-2257): whole milliseconds.
var (
	str     = scalar{"a string", func(v any) bool { _, ok := v.(string); return ok }}
	boolean = scalar{"a boolean", func(v any) bool { _, ok := v.(bool); return ok }}
	number  = scalar{"a number", func(v any) bool { _, ok := decimal(v); return ok }}
	integer = scalar{"a whole number",
		func(v any) bool { s, ok := decimal(v); _, err := strconv.Atoi(s); return ok && err == nil }}
	duration  = scalar{"a duration in whole milliseconds, such as 3s or 250ms", isDuration}
	intOrStr  = scalar{"a whole number or a string", func(v any) bool { return integer.is(v) || str.is(v) }}
	anyNumber = scalar{"a number or a string", func(v any) bool { return number.is(v) || str.is(v) }}
	mtlsMode  = scalar{"UNSET, DISABLE, PERMISSIVE or STRICT", func(v any) bool {
		return slices.Contains([]any{"UNSET", "DISABLE", "PERMISSIVE", "STRICT"}, v)
	}}
)

// decimal returns a number as it is written.
func decimal(v any) (string, bool) {
	switch v := v.(type) {
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

func isDuration(v any) bool {
	s, ok := v.(string)
	d, err := time.ParseDuration(s)
	return ok && err == nil && d >= 0 && d%time.Millisecond == 0
}

// The parts that several kinds, or several fields, share.
var (
	texts       = listOf{str}
	labels      = mapOf{str}
	selector    = message{"matchLabels": labels}
	workloads   = closed{"matchLabels": labels}
	stringMatch = oneOf{"exact": str, "prefix": str, "regex": str}
	percentage  = message{"value": number}
	headerOps   = message{"set": labels, "add": labels, "remove": texts}
	headers     = message{"request": headerOps, "response": headerOps}
	destination = closed{"host": str, "subset": str, "port": message{"number": integer}}
	weighted    = listOf{closed{"destination": destination, "weight": integer, "headers": headers}}
	streams     = listOf{message{
		"match": listOf{message{
			"destinationSubnets": texts, "port": integer, "sourceLabels": labels, "gateways": texts, "sourceNamespace": str,
			"sniHosts": texts,
		}},
		"route": weighted,
	}}
	trafficPolicyOf = message{
		"outlierDetection": message{
			"consecutive5xxErrors": integer, "consecutiveGatewayErrors": integer, "consecutiveErrors": integer,
			"interval":         duration,
			"baseEjectionTime": duration, "maxEjectionPercent": integer, "minHealthPercent": integer,
		},
		"tls": message{"mode": str},
	}
	tokenBucket = message{"token_bucket": message{"max_tokens": integer, "tokens_per_fill": integer,
		"fill_interval": duration}}
	reference = message{"group": str, "kind": str, "name": str}
)

// httpRule is networking.istio.io HTTPRoute, an entry of a VirtualService's http.
var httpRule = closed{
	"name": str, "timeout": duration, "headers": headers, "route": weighted,
	"match": listOf{closed{
		"name": str, "uri": stringMatch, "scheme": stringMatch, "method": stringMatch, "authority": stringMatch,
		"headers": mapOf{stringMatch},
		"port":    integer, "sourceLabels": labels, "gateways": texts, "queryParams": mapOf{stringMatch},
		"ignoreUriCase":  boolean,
		"withoutHeaders": mapOf{stringMatch}, "sourceNamespace": str, "statPrefix": str,
	}},
	"redirect": message{"uri": str, "authority": str, "port": integer, "derivePort": str, "scheme": str,
		"redirectCode": integer},
	"directResponse": message{"status": integer},
	"delegate":       message{"name": str, "namespace": str},
	"rewrite":        message{"uri": str, "authority": str, "uriRegexRewrite": message{"match": str, "rewrite": str}},
	"retries": message{
		"attempts": integer, "perTryTimeout": duration, "retryOn": str, "retryRemoteLocalities": boolean,
		"retryIgnorePreviousHosts": boolean,
		"backoff":                  duration,
	},
	"fault": message{
		"delay": message{"percent": integer, "fixedDelay": duration, "percentage": percentage},
		"abort": message{"httpStatus": integer, "grpcStatus": str, "http2Error": str, "percentage": percentage},
	},
	"mirror": destination, "mirrorPercent": integer, "mirror_percent": integer, "mirrorPercentage": percentage,
	"mirrors": listOf{message{"destination": destination, "percentage": percentage}},
	"corsPolicy": message{
		"allowOrigin": texts, "allowOrigins": listOf{stringMatch}, "allowMethods": texts, "allowHeaders": texts,
		"exposeHeaders": texts,
		"maxAge":        duration, "allowCredentials": boolean, "unmatchedPreflights": str,
	},
}

// schemas are the specs of the kinds that are converted, and of Services, which tell ports. Sources: the
// CustomResourceDefinitions of Istio, SMI and Linkerd.
var schemas = map[kind]schema{
	{"networking.istio.io", "VirtualService"}: closed{
		"hosts": texts, "gateways": texts, "exportTo": texts, "http": listOf{httpRule}, "tcp": streams, "tls": streams,
	},
	{"networking.istio.io", "DestinationRule"}: message{
		"host": str, "exportTo": texts, "trafficPolicy": trafficPolicyOf,
		"subsets": listOf{message{"name": str, "labels": labels, "trafficPolicy": trafficPolicyOf}},
	},
	{"networking.istio.io", "EnvoyFilter"}: closed{
		"targetRefs": anything{}, "priority": anything{}, "workloadSelector": closed{"labels": labels},
		"configPatches": listOf{message{"patch": message{"value": message{
			"typed_config": message{"token_bucket": tokenBucket["token_bucket"], "value": tokenBucket},
		}}}},
	},
	{"security.istio.io", "PeerAuthentication"}: closed{
		"selector": workloads, "mtls": closed{"mode": mtlsMode}, "portLevelMtls": mapOf{closed{"mode": mtlsMode}},
	},
	{"security.istio.io", "AuthorizationPolicy"}: closed{
		"selector": workloads, "action": str, "targetRef": anything{}, "targetRefs": anything{}, "provider": anything{},
		"rules": listOf{closed{
			"from": listOf{closed{"source": mapOf{texts}}},
			"to":   listOf{closed{"operation": mapOf{texts}}},
			"when": listOf{message{"key": str, "values": texts, "notValues": texts}},
		}},
	},
	{"split.smi-spec.io", "TrafficSplit"}: message{"service": str,
		"backends": listOf{closed{"service": str, "weight": anyNumber}}},
	{"security.linkerd.io", "Server"}: message{"podSelector": selector, "port": intOrStr,
		"clientAuth": message{"mode": str}},
	{"policy.linkerd.io", "Server"}: message{"podSelector": selector, "port": intOrStr,
		"clientAuth": message{"mode": str}},
	{"security.linkerd.io", "AuthorizationPolicy"}: message{
		"targetRef": reference, "requiredAuthenticationRefs": listOf{reference}, "requiredServerRefs": listOf{reference},
	},
	{"policy.linkerd.io", "MeshTLSAuthentication"}:   message{"identities": texts},
	{"security.linkerd.io", "MeshTLSAuthentication"}: message{"identities": texts},
	{"monitoring.coreos.com", "ServiceMonitor"}: message{"selector": selector,
		"endpoints": listOf{message{"interval": str}}},
	{"", "Service"}: message{
		"selector": labels, "ports": listOf{message{"port": integer, "targetPort": intOrStr, "protocol": str}},
	},
}
