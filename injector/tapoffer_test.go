package injector

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// tapService is the APIService of tap, served in a namespace.
func tapService(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": mesh.TapAPIService},
		"spec":     map[string]any{"service": map[string]any{"name": "tap", "namespace": namespace}},
	}}
}

// TestOffersComeFromTheAPIService: it names the namespace, an answer holds for a moment, its absence only for the
// blink in which one `kubectl apply` cannot end and another begin, and without an answer there is no offer.
func TestOffersComeFromTheAPIService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
		reads, fail := 0, error(nil)
		client.PrependReactor("get", "apiservices", func(kubetesting.Action) (bool, runtime.Object, error) {
			reads++
			return fail != nil, nil, fail
		})
		o := &apiServiceOffers{client: client, log: zap.NewNop()}
		expect := func(namespace string, want bool, wantReads int) {
			t.Helper()
			if got := o.offersTap(t.Context(), namespace); got != want || reads != wantReads {
				t.Errorf("%s: got %t after %d reads, want %t after %d", namespace, got, reads, want, wantReads)
			}
		}
		later := func() { <-time.After(offerFresh) }
		expect("tulle-viz", false, 1)
		_, err := client.Resource(inject.APIServices).Create(t.Context(), tapService("tulle-viz"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		expect("tulle-viz", false, 1)
		<-time.After(absenceFresh)
		expect("tulle-viz", true, 2)
		expect("other", false, 2)
		expect("", false, 2)
		later()
		fail = errors.New("away")
		expect("tulle-viz", false, 3)
		<-time.After(absenceFresh)
		expect("tulle-viz", false, 3)
		later()
		fail = nil
		expect("tulle-viz", true, 4)
	})
}
