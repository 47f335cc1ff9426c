package servingcert

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestWatchAsksForAPass wants a pass when the Secret or an object that Announce writes appears, and when it goes.
func TestWatchAsksForAPass(t *testing.T) {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	secret := Object{secrets, "tap-tls"}
	for name, test := range map[string]struct {
		object    Object
		namespace string
		kind      metav1.TypeMeta
	}{
		"the Secret": {secret, "tulle-viz", metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}},
		"the APIService": {Object{APIServices, tapService}, "",
			metav1.TypeMeta{APIVersion: "apiregistration.k8s.io/v1", Kind: "APIService"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := metadatafake.NewSimpleMetadataClient(scheme, &metav1.PartialObjectMetadata{
				TypeMeta: test.kind, ObjectMeta: metav1.ObjectMeta{Name: test.object.Name, Namespace: test.namespace},
			})
			// An object that goes between the list and the watch of the fake client is never reported.
			watched := make(chan schema.GroupVersionResource, 10)
			client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
				w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace())
				watched <- a.GetResource()
				return true, w, err
			})
			m := New(Config{Namespace: "tulle-viz", Secret: secret.Name})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- m.Watch(ctx, client, Object{APIServices, tapService}) }()
			<-m.wake
			for <-watched != test.object.Resource { // the other informer's
			}
			err := client.Resource(test.object.Resource).Namespace(test.namespace).Delete(ctx, test.object.Name,
				metav1.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			<-m.wake
			cancel()
			if err := <-ended; err != context.Canceled {
				t.Errorf("ended with %v, want the context's error", err)
			}
		})
	}
}
