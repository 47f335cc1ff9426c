package main

import (
	"strconv"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

type schema = apiextensionsv1.JSONSchemaProps

// visit calls edit on a schema and on all that it holds, outermost first.
func visit(s *schema, edit func(*schema)) {
	edit(s)
	for name, p := range s.Properties {
		visit(&p, edit)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		visit(s.Items.Schema, edit)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		visit(s.AdditionalProperties.Schema, edit)
	}
	for _, list := range [][]schema{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			visit(&list[i], edit)
		}
	}
}

func dropDescription(s *schema) { s.Description = "" }

// editAt calls edit on the schema that a path of property names leads to; "[]" leads to the items of a list. It panics
// where there is none: the paths are written for schemas of pinned versions.
func editAt(s *schema, path []string, edit func(*schema)) {
	if len(path) == 0 {
		edit(s)
		return
	}
	if path[0] == "[]" {
		editAt(s.Items.Schema, path[1:], edit)
		return
	}
	p, ok := s.Properties[path[0]]
	if !ok {
		panic("no property " + path[0])
	}
	editAt(&p, path[1:], edit)
	s.Properties[path[0]] = p
}

// must returns a rule with its message.
func must(rule, message string) apiextensionsv1.ValidationRule {
	return apiextensionsv1.ValidationRule{Rule: rule, Message: message}
}

// jsonOf returns a text as a default.
func jsonOf(text string) *apiextensionsv1.JSON {
	return &apiextensionsv1.JSON{Raw: []byte(strconv.Quote(text))}
}
