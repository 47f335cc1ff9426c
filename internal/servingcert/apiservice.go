package servingcert

import (
	"context"
	"encoding/base64"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// APIServices is the resource of aggregated APIs.
var APIServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// APIService returns an Announce function: it writes the authorities into the APIService of this name, which the
// installation made. Verification is turned on where somebody turned it off.
func APIService(client dynamic.Interface, name, owner string) func(ctx context.Context, authorities []byte) error {
	return func(ctx context.Context, authorities []byte) error {
		services := client.Resource(APIServices)
		current, err := services.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read APIService %s: %w", name, err)
		}
		bundle := base64.StdEncoding.EncodeToString(authorities)
		if written, _, _ := unstructured.NestedString(current.Object, "spec", "caBundle"); written == bundle {
			return nil
		}
		patch := fmt.Appendf(nil, `{"spec":{"caBundle":%q,"insecureSkipTLSVerify":null}}`, bundle)
		_, err = services.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: owner})
		if err != nil {
			return fmt.Errorf("write authorities into APIService %s: %w", name, err)
		}
		return nil
	}
}
