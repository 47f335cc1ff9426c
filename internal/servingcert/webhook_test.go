package servingcert

import (
	"bytes"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestWebhooksNameTheAuthorities wants every webhook of one configuration to trust the authorities, nothing else to
// change, and no write where nothing is due.
func TestWebhooksNameTheAuthorities(t *testing.T) {
	fail := admissionregistrationv1.Fail
	webhook := func(name, bundle string) admissionregistrationv1.ValidatingWebhook {
		return admissionregistrationv1.ValidatingWebhook{Name: name, FailurePolicy: &fail,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte(bundle),
				Service: &admissionregistrationv1.ServiceReference{Namespace: "tulle-viz", Name: "metrics-api"}}}
	}
	for name, test := range map[string]struct {
		bundles [2]string
		writes  int
	}{
		"as installed":      {[2]string{"", ""}, 1},
		"other authorities": {[2]string{"old", "old"}, 1},
		"one was reset":     {[2]string{"new", ""}, 1},
		"nothing to do":     {[2]string{"new", "new"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
				ObjectMeta: metav1.ObjectMeta{Name: "warnings"},
				Webhooks: []admissionregistrationv1.ValidatingWebhook{
					webhook("a.example", test.bundles[0]), webhook("b.example", test.bundles[1])},
			}
			other := configuration.DeepCopy()
			other.Name = "of-somebody-else"
			client := fake.NewClientset(configuration, other)
			announce := ValidatingWebhook(client, "warnings", "metrics-api")
			if err := announce(t.Context(), []byte("new")); err != nil {
				t.Fatal(err)
			}
			writes := 0
			for _, a := range client.Actions() {
				if a.GetVerb() != "get" {
					writes++
				}
			}
			if writes != test.writes {
				t.Errorf("%d writes, want %d", writes, test.writes)
			}
			configurations := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
			got, err := configurations.Get(t.Context(), "warnings", metav1.GetOptions{})
			if err != nil || len(got.Webhooks) != 2 {
				t.Fatalf("webhooks %v, error %v; want two", got, err)
			}
			for _, w := range got.Webhooks {
				if !bytes.Equal(w.ClientConfig.CABundle, []byte("new")) {
					t.Errorf("%s trusts %q", w.Name, w.ClientConfig.CABundle)
				}
				if w.FailurePolicy == nil || *w.FailurePolicy != fail || w.ClientConfig.Service == nil ||
					w.ClientConfig.Service.Name != "metrics-api" {
					t.Errorf("%s has lost fields: %v", w.Name, w)
				}
			}
			untouched, err := configurations.Get(t.Context(), "of-somebody-else", metav1.GetOptions{})
			if err != nil || string(untouched.Webhooks[0].ClientConfig.CABundle) != test.bundles[0] {
				t.Errorf("another configuration has %v, error %v", untouched, err)
			}
		})
	}
}

func TestWebhooksThatAreNotInstalled(t *testing.T) {
	err := ValidatingWebhook(fake.NewClientset(), "warnings", "metrics-api")(t.Context(), []byte("new"))
	if err == nil || !strings.Contains(err.Error(), "read webhook configuration warnings") {
		t.Errorf("error %v; want one that names the configuration", err)
	}
}
