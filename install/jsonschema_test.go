package install

import (
	"bytes"
	stdcmp "cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tulle-mesh/tulle/install/chart"
	"github.com/tulle-mesh/tulle/internal/goldentest"
)

//go:generate go test . -run ^TestChartSchemaIsCurrent$ -update

// TestChartSchemaIsCurrent compares the schema by which Helm refuses values with values.yaml and with the Go types.
func TestChartSchemaIsCurrent(t *testing.T) {
	const file = "chart/values.schema.json"
	got := chartSchema(t)
	goldentest.Equal(t, file, string(got))
}

// jsonObject is a part of a JSON schema.
type jsonObject = map[string]any

const (
	quantityPattern = `^(([0-9]*[1-9][0-9]*([.][0-9]*)?|[0-9]*[.][0-9]*[1-9][0-9]*)([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?)?$`
	durationPattern = `^([+]?(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[+]?0)$`
	portsPattern    = `^( *([0-9]{1,5}(-[0-9]{1,5})?)? *(,|$))*$`
	domainPattern   = `[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*`
	labelKey        = `([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)`
	labelName       = `^(` + domainPattern + `/)?` + labelKey + `$`
	labelValue      = `^` + labelKey + `?$`
)

func oneOf(values ...any) jsonObject { return jsonObject{"enum": values} }

func text(pattern string) jsonObject { return jsonObject{"pattern": pattern} }

// textOr returns the schema of a text that may be written as a number, as Helm's --set takes one. The chart's template
// tulle.values makes it a text.
func textOr(number, pattern string) jsonObject {
	return jsonObject{"type": []any{"string", number}, "pattern": pattern, "minimum": 0}
}

// share is a number from 0 to 1, which Helm's --set takes as a text.
func share() jsonObject {
	return jsonObject{"type": []any{"number", "string"}, "minimum": 0, "maximum": 1,
		"pattern": "^(0|1|[01][.]0*|0?[.][0-9]+)$"}
}

// labels returns the schema of a map of labels or annotations.
func labels(value string) jsonObject {
	of := jsonObject{"type": "string"}
	if value != "" {
		of["pattern"], of["maxLength"] = value, 63
	}
	return jsonObject{"patternProperties": jsonObject{labelName: of}, "additionalProperties": false}
}

func list(properties jsonObject, required ...string) jsonObject {
	item := jsonObject{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		item["required"] = required
	}
	return jsonObject{"items": item}
}

// constraints are what the types of the keys do not say. Keys that end with a dot are for all leaves below them.
func constraints() map[string]jsonObject {
	str := jsonObject{"type": "string"}
	port := jsonObject{"minimum": 1, "maximum": 65535}
	pull := []any{"Always", "IfNotPresent", "Never"}
	c := map[string]jsonObject{
		"clusterDomain":   {"pattern": "^" + domainPattern + "$", "maxLength": 253},
		"imagePullPolicy": oneOf(pull...),
		"imagePullSecrets": list(jsonObject{"name": jsonObject{"type": "string", "pattern": "^" + domainPattern + "$"}},
			"name"),
		"controllerImage":     text(`^\S+$`),
		"controllerReplicas":  {"minimum": 1},
		"controllerLogLevel":  oneOf("debug", "info", "warn", "error"),
		"controllerLogFormat": oneOf("plain", "json"),
		"controllerUID":       {"minimum": 1},
		"podLabels":           labels(labelValue),
		"podAnnotations":      labels(""),
		"nodeSelector":        labels(labelValue),
		"priorityClassName":   text("^(" + domainPattern + ")?$"),
		"tolerations": list(jsonObject{
			"key":      jsonObject{"type": "string", "pattern": "^(" + strings.Trim(labelName, "^$") + ")?$"},
			"operator": str, "value": str, "effect": str, "tolerationSeconds": jsonObject{"type": "integer"}}),
		"identityTrustDomain":                text(`^[a-z0-9._-]*$`),
		"identity.issuer.scheme":             oneOf(OwnIssuer, ExternalIssuer),
		"identity.issuer.clockSkewAllowance": text(durationPattern),
		"identity.issuer.issuanceLifetime":   text(durationPattern),
		"webhookFailurePolicy":               oneOf("Fail", "Ignore"),
		"proxyInjector.timeoutSeconds":       {"minimum": 1, "maximum": 30},
		"podMaySet":                          {"items": str},
		"proxy.image.pullPolicy":             oneOf(append([]any{""}, pull...)...),
		"proxy.ports.":                       port,
		"proxy.tap.enabled": {"type": []any{"string", "boolean"},
			"enum": []any{"auto", "true", "false", "enabled", "disabled", true, false}},
		"proxy.tracing.samplingRatio":    share(),
		"proxy.uid":                      {"minimum": 1},
		"proxy.logFormat":                oneOf("plain", "json"),
		"proxy.accessLog":                oneOf("", "apache", "json"),
		"proxy.resources.cpu.ratioLimit": share(),
		"proxy.defaultInboundPolicy": oneOf("all-unauthenticated", "all-authenticated", "cluster-unauthenticated",
			"cluster-authenticated", "deny", "audit"),
		"proxy.opaquePorts":                         textOr("integer", portsPattern),
		"proxy.requireIdentityOnInboundPorts":       {"type": []any{"string", "integer"}},
		"proxy.waitBeforeExitSeconds":               {"minimum": 0},
		"proxy.shutdownGracePeriod":                 text(durationPattern),
		"proxy.outboundConnectTimeout":              text(durationPattern),
		"proxy.inboundConnectTimeout":               text(durationPattern),
		"proxy.outboundDiscoveryCacheUnusedTimeout": text(durationPattern),
		"proxy.inboundDiscoveryCacheUnusedTimeout":  text(durationPattern),
		"proxy.additionalEnv":                       list(jsonObject{"name": str, "value": str}, "name"),
		"proxyInit.ignoreInboundPorts":              textOr("integer", portsPattern),
		"proxyInit.ignoreOutboundPorts":             textOr("integer", portsPattern),
	}
	for _, resources := range []string{"identityResources", "destinationResources", "proxyInjectorResources",
		"proxy.resources"} {
		for _, name := range []string{"cpu", "memory", "ephemeral-storage"} {
			quantity := textOr("number", quantityPattern)
			c[resources+"."+name+".request"], c[resources+"."+name+".limit"] = quantity, quantity
		}
	}
	return c
}

// chartSchema writes the schema: the keys and descriptions of values.yaml, the types that Values accepts, and the
// constraints. All keys are required, because a null in Helm takes a key and its default away.
func chartSchema(t *testing.T) []byte {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(chart.DefaultValues, &doc); err != nil {
		t.Fatal(err)
	}
	rules := constraints()
	root := objectSchema("", doc.Content[0], rules)
	if len(rules) > 0 {
		t.Errorf("constraints of keys that values.yaml does not have: %v", slices.Sorted(maps.Keys(rules)))
	}
	root["$schema"], root["title"] = "http://json-schema.org/draft-07/schema#", "Values of the chart tulle"
	// A chart that has this one as a dependency gives it its global values, which have no effect here.
	root["properties"].(jsonObject)["global"] = jsonObject{"type": "object"}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func objectSchema(path string, node *yaml.Node, rules map[string]jsonObject) jsonObject {
	properties, required := jsonObject{}, []string{}
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := strings.TrimPrefix(path+"."+name.Value, ".")
		var s jsonObject
		switch {
		case value.Kind == yaml.MappingNode && !slices.Contains(schema.Open, key):
			s = objectSchema(key, value, rules)
		case value.Kind == yaml.MappingNode:
			s = jsonObject{"type": "object"}
		case value.Kind == yaml.SequenceNode:
			s = jsonObject{"type": "array"}
		default:
			s = jsonObject{"type": leafType(key, value)}
		}
		if comment := stdcmp.Or(name.HeadComment, value.LineComment); comment != "" {
			s["description"] = strings.Join(strings.Fields(strings.ReplaceAll("\n"+comment, "\n#", " ")), " ")
		}
		for _, rule := range []string{path + ".", key} {
			maps.Copy(s, rules[rule])
		}
		delete(rules, key)
		properties[name.Value], required = s, append(required, name.Value)
	}
	delete(rules, path+".")
	slices.Sort(required)
	return jsonObject{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}

// leafType returns the type of a leaf of values.yaml: a number is whole unless Values accepts another one.
func leafType(key string, value *yaml.Node) string {
	switch value.Tag {
	case "!!bool":
		return "boolean"
	case "!!int", "!!float":
		if schema.Accepts(key, json.Number("0.5")) {
			return "number"
		}
		return "integer"
	}
	return "string"
}
