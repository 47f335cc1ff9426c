package analyze

import (
	"encoding/json"
	"errors"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// typed returns an empty object of a kind that the mesh reads, nil for others.
func typed(group, kind string) any {
	switch group + "/" + kind {
	case gatewayv1.GroupName + "/HTTPRoute":
		return &gatewayv1.HTTPRoute{}
	case gatewayv1.GroupName + "/GRPCRoute":
		return &gatewayv1.GRPCRoute{}
	case gatewayv1.GroupName + "/TLSRoute":
		return &gatewayv1.TLSRoute{}
	case gatewayv1.GroupName + "/TCPRoute":
		return &gatewayv1.TCPRoute{}
	case gatewayv1.GroupName + "/ReferenceGrant":
		return &gatewayv1.ReferenceGrant{}
	case v1alpha1.ProfileGroup + "/ServiceProfile":
		return &v1alpha1.ServiceProfile{}
	case v1alpha1.PolicyGroup + "/Server":
		return &v1alpha1.Server{}
	case v1alpha1.PolicyGroup + "/ServerAuthorization":
		return &v1alpha1.ServerAuthorization{}
	case v1alpha1.PolicyGroup + "/AuthorizationPolicy":
		return &v1alpha1.AuthorizationPolicy{}
	case v1alpha1.PolicyGroup + "/MeshTLSAuthentication":
		return &v1alpha1.MeshTLSAuthentication{}
	case v1alpha1.PolicyGroup + "/NetworkAuthentication":
		return &v1alpha1.NetworkAuthentication{}
	case v1alpha1.PolicyGroup + "/HTTPLocalRateLimitPolicy":
		return &v1alpha1.HTTPLocalRateLimitPolicy{}
	case v1alpha1.PolicyGroup + "/HTTPRoute":
		return &v1alpha1.HTTPRoute{}
	}
	return nil
}

// checkFields finds fields that a kind does not have, and values of another type, in objects that no API server has
// seen yet.
func checkFields(w *World) {
	for _, o := range w.objects {
		into := typed(o.group, o.kind)
		if into == nil || o.created != "" {
			continue
		}
		data, err := json.Marshal(map[string]any{"spec": o.tree["spec"]})
		if err != nil {
			continue // it came of JSON or YAML: it can be encoded
		}
		unknown, err := kjson.UnmarshalStrict(data, into)
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
