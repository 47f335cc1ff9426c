// Package crdtest validates objects in tests, as the API server does on creation.
//
// It owns the validation against the schemas of package crds. Programs must not import it. The one idea: the validator
// is the API server's own (kube-openapi), and rules in CEL (x-kubernetes-validations) are evaluated. So a test refuses
// what a cluster would refuse.
package crdtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds"
)

// definition has the fields of a CustomResourceDefinition that matter here.
type definition struct {
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Kind string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Schema struct {
				OpenAPIV3Schema json.RawMessage `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// Validate returns the API server's errors for an object of a kind of package crds, and errors for unknown fields. It
// returns nil for objects of other groups. A version that no definition has is an error.
func Validate(tree map[string]any) error {
	apiVersion, _ := tree["apiVersion"].(string)
	kind, _ := tree["kind"].(string)
	group, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return nil
	}
	own, err := crds.Own()
	if err != nil {
		return err
	}
	gateway, err := crds.Gateway()
	if err != nil {
		return err
	}
	known := false
	for _, d := range append(own, gateway...) {
		known = known || d.Resource.Group == group
		if d.Resource.Group != group {
			continue
		}
		var def definition
		if err := yaml.Unmarshal(d.YAML, &def); err != nil {
			return fmt.Errorf("decode definition: %w", err)
		}
		if def.Spec.Names.Kind != kind {
			continue
		}
		for _, v := range def.Spec.Versions {
			if v.Name == version {
				return against(v.Schema.OpenAPIV3Schema, tree)
			}
		}
	}
	if known {
		return fmt.Errorf("%s %s: no definition has this version", apiVersion, kind)
	}
	return nil
}

// against validates the object with a schema.
func against(raw json.RawMessage, tree map[string]any) error {
	var schema spec.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		return fmt.Errorf("decode schema: %w", err)
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode object: %w", err)
	}
	var value map[string]any
	if err := utiljson.Unmarshal(data, &value); err != nil { // whole numbers become int64, as in the API server
		return fmt.Errorf("decode object: %w", err)
	}
	errs := validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(value).Errors
	return errors.Join(slices.Concat(errs, unknown("", schema, value), rules{}.broken("", schema, value))...)
}

// rules are compiled CEL rules by their text.
type rules map[string]cel.Program

// broken returns the CEL rules of the schema that the value breaks.
func (c rules) broken(path string, schema spec.Schema, value any) []error {
	var errs []error
	var list []struct{ Rule, Message string }
	if err := schema.Extensions.GetObject("x-kubernetes-validations", &list); err != nil {
		return []error{fmt.Errorf("%s: decode rules: %w", path, err)}
	}
	for _, r := range list {
		if ok, err := c.evaluate(r.Rule, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: evaluate %s: %w", path, r.Rule, err))
		} else if !ok {
			errs = append(errs, fmt.Errorf("%s: %s", path, cmp.Or(r.Message, r.Rule)))
		}
	}
	switch value := value.(type) {
	case map[string]any:
		for k, below := range value {
			if field, ok := schema.Properties[k]; ok {
				errs = append(errs, c.broken(path+"."+k, field, below)...)
			}
		}
	case []any:
		for i, item := range value {
			if schema.Items != nil && schema.Items.Schema != nil {
				errs = append(errs, c.broken(fmt.Sprintf("%s[%d]", path, i), *schema.Items.Schema, item)...)
			}
		}
	}
	return errs
}

// evaluate returns the result of a rule for a value.
func (c rules) evaluate(rule string, value any) (bool, error) {
	if c[rule] == nil {
		program, err := compile(rule)
		if err != nil {
			return false, err
		}
		c[rule] = program
	}
	result, _, err := c[rule].Eval(map[string]any{"self": value})
	if err != nil {
		return false, err
	}
	ok, _ := result.Value().(bool)
	return ok, nil
}

func compile(rule string) (cel.Program, error) {
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType), cel.CrossTypeNumericComparisons(true))
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(rule)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	return env.Program(ast)
}

// unknown returns the fields that the schema does not have: the API server drops them with a warning.
func unknown(path string, schema spec.Schema, value any) []error {
	var errs []error
	switch value := value.(type) {
	case map[string]any:
		preserved, _ := schema.Extensions.GetBool("x-kubernetes-preserve-unknown-fields")
		for k, below := range value {
			field, ok := schema.Properties[k]
			switch {
			case ok:
				errs = append(errs, unknown(path+"."+k, field, below)...)
			case path == "" && (k == "apiVersion" || k == "kind" || k == "metadata") || path == ".metadata" || preserved:
			case schema.AdditionalProperties == nil:
				errs = append(errs, fmt.Errorf("%s.%s: is not a field", path, k))
			case schema.AdditionalProperties.Schema != nil:
				errs = append(errs, unknown(path+"."+k, *schema.AdditionalProperties.Schema, below)...)
			}
		}
	case []any:
		for i, item := range value {
			if schema.Items != nil && schema.Items.Schema != nil {
				errs = append(errs, unknown(fmt.Sprintf("%s[%d]", path, i), *schema.Items.Schema, item)...)
			}
		}
	}
	return errs
}
