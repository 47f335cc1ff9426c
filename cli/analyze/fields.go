package analyze

import (
	"encoding/json"
	"errors"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/tulle-mesh/tulle/controller/kinds"
)

// checkFields finds fields that a kind does not have, and values of another type, in objects that no API server has
// seen yet.
func checkFields(w *World) {
	configuration := kinds.Configuration()
	for _, o := range w.objects {
		k, ok := kinds.Find(configuration, o.group, o.kind)
		if !ok || o.created != "" {
			continue
		}
		data, err := json.Marshal(map[string]any{"spec": o.tree["spec"]})
		if err != nil {
			continue // it came of JSON or YAML: it can be encoded
		}
		unknown, err := kjson.UnmarshalStrict(data, k.New())
		for _, e := range unknown {
			w.report(Error, "FieldUnknown", o, "%s: the API server would refuse it, or leave it out", e)
		}
		var mismatch *json.UnmarshalTypeError
		switch {
		case errors.As(err, &mismatch):
			w.report(Error, "FieldType", o, "%s has a %s: want %s", mismatch.Field, mismatch.Value,
				wantedType(mismatch.Type.Kind().String()))
		case err != nil:
			w.report(Error, "FieldType", o, "%s", strings.TrimPrefix(err.Error(), "json: "))
		}
	}
}

// wantedType says in JSON's words what a field of a kind of Go type takes.
func wantedType(kind string) string {
	switch kind {
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "slice", "array":
		return "a list"
	case "struct", "map":
		return "an object"
	default:
		return "a number"
	}
}
