package kube

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/kinds"
)

// object is what is kept of one object of a kind.
type object struct {
	// Object is what the model gets, without status; of an object that could not be decoded only its name. It never
	// changes, and neither does what it points to.
	metav1.Object
	unknown []string
	// err is why the object could not be decoded.
	err error

	// resourceVersion and status are those of the API server, and change more often than what the model gets.
	resourceVersion string
	status          Status
}

// Status is as much of an object's status as anybody writes who follows the Gateway API.
type Status struct {
	Parents    []gatewayv1.RouteParentStatus `json:"parents,omitempty"`
	Conditions []metav1.Condition            `json:"conditions,omitempty"`
}

// decode reads u, which it may take apart.
func decode(k kinds.Kind, u *unstructured.Unstructured) *object {
	o := &object{resourceVersion: u.GetResourceVersion()}
	o.status = readStatus(u)
	delete(u.Object, "status")
	typed := k.New()
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, typed, true)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		o.unknown = unknownFields(strict.Errors())
	} else if err != nil {
		o.err = fmt.Errorf("decode %s %s/%s: %w", k.Name, u.GetNamespace(), u.GetName(), locate(k, u, err))
		typed = k.New()
		typed.SetNamespace(u.GetNamespace())
		typed.SetName(u.GetName())
		typed.SetUID(u.GetUID())
		typed.SetGeneration(u.GetGeneration())
	}
	stripConfiguration(typed)
	o.Object = typed
	return o
}

// locate returns an error for people: the converter's says what is wrong, but not where.
func locate(k kinds.Kind, u *unstructured.Unstructured, err error) error {
	text, encodeErr := u.MarshalJSON()
	if encodeErr != nil {
		return err
	}
	into := k.New()
	if where := json.Unmarshal(text, into); where != nil {
		return where
	}
	return err
}

// readStatus returns the status of u, as far as it can be read: nobody's mistakes in a status keep the object from
// working.
func readStatus(u *unstructured.Unstructured) Status {
	var out Status
	if fields, ok := u.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &out); err != nil {
			return Status{}
		}
	}
	return out
}

// unknownFields returns the paths that a strict decoder's errors name.
func unknownFields(errs []error) []string {
	out := make([]string, 0, len(errs))
	for _, e := range errs {
		path := strings.TrimPrefix(e.Error(), `unknown field `)
		out = append(out, strings.Trim(path, `"`))
	}
	return out
}
