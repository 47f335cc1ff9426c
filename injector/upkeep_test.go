package injector

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/servingcert"
)

// installed is the webhook configuration as the installation writes it, in what matters here.
func installed() *admissionregistrationv1.MutatingWebhookConfiguration {
	ignore, fail := admissionregistrationv1.Ignore, admissionregistrationv1.Fail
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"},
			Resources: []string{"pods", "services"}},
	}}
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurationName},
		Webhooks: []admissionregistrationv1.MutatingWebhook{
			{Name: baseWebhook, FailurePolicy: &ignore, Rules: rules, NamespaceSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{
					Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn,
					Values: []string{"kube-system", "tulle"},
				}},
			}},
			{Name: "required.proxy-injector.tulle.dev", FailurePolicy: &fail, Rules: rules},
		},
	}
}

// testUpkeep is an upkeep at a time that the test may change.
type testUpkeep struct {
	*upkeep
	now time.Time
}

func upkeepAt(client kubernetes.Interface, now time.Time, optedIn ...string) *testUpkeep {
	u := &testUpkeep{now: now}
	u.upkeep = newUpkeep(Config{Client: client, Namespace: "tulle", Log: zap.NewNop()}, inject.Defaults,
		newMetrics(prometheus.NewRegistry()), func() time.Time { return u.now })
	u.optedIn = func() ([]string, types.UID) { return optedIn, "uid-of-tulle" }
	return u
}

// served returns the certificate that API servers meet.
func (u *testUpkeep) served(t *testing.T) *x509.Certificate {
	t.Helper()
	cert, err := u.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func get(t *testing.T, client kubernetes.Interface, name string) *configuration {
	t.Helper()
	c, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustReconcile(t *testing.T, u *testUpkeep) {
	t.Helper()
	if err := u.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUpkeepAnnounces(t *testing.T) {
	client := fake.NewClientset(installed())
	u := upkeepAt(client, time.Now(), "shop", "bank")
	mustReconcile(t, u)

	config, optedIn := get(t, client, configurationName), get(t, client, optedInName)
	secret, err := client.CoreV1().Secrets("tulle").Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range slices.Concat(config.Webhooks, optedIn.Webhooks) {
		if !bytes.Equal(w.ClientConfig.CABundle, secret.Data[servingcert.AuthorityCerts]) {
			t.Errorf("webhook %s announces other authorities than the Secret's", w.Name)
		}
	}
	without := announcement{}.withBundle(config)
	if diff := cmp.Diff(installed().Webhooks, without.Webhooks); diff != "" {
		t.Errorf("the installation's webhooks were changed beyond their authorities (-want +got):\n%s", diff)
	}
	if len(optedIn.Webhooks) != 1 || *optedIn.Webhooks[0].FailurePolicy != admissionregistrationv1.Fail {
		t.Fatalf("webhooks for namespaces that opted in are %v, want one that fails closed", optedIn.Webhooks)
	}
	if got := optedIn.Webhooks[0].Rules[0].Resources; !cmp.Equal(got, []string{"pods"}) {
		t.Errorf("rule covers %v: a Service must not wait for an injector", got)
	}
	want := []metav1.LabelSelectorRequirement{
		{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system", "tulle"}},
		{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: []string{"bank", "shop"}},
	}
	if diff := cmp.Diff(want, optedIn.Webhooks[0].NamespaceSelector.MatchExpressions); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	for _, c := range []*configuration{config, optedIn} {
		if owners := c.OwnerReferences; len(owners) != 1 || owners[0].UID != "uid-of-tulle" {
			t.Errorf("owners of %s are %v, want the control plane's namespace", c.Name, owners)
		}
	}
}

func TestUpkeepRests(t *testing.T) {
	client := fake.NewClientset(installed())
	u := upkeepAt(client, time.Now(), "shop")
	mustReconcile(t, u)
	client.ClearActions()
	mustReconcile(t, u)
	for _, a := range client.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("%s %s where nothing is due", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

func TestUpkeepRepairs(t *testing.T) {
	client := fake.NewClientset(installed())
	u := upkeepAt(client, time.Now(), "shop")
	mustReconcile(t, u)
	good := get(t, client, configurationName)

	broken := good.DeepCopy()
	broken.Webhooks[0].ClientConfig.CABundle = []byte("junk")
	if err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), optedInName,
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(t.Context(), broken,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	mustReconcile(t, u)
	repaired := get(t, client, configurationName)
	if !bytes.Equal(repaired.Webhooks[0].ClientConfig.CABundle, good.Webhooks[0].ClientConfig.CABundle) {
		t.Error("the authorities are not back")
	}
	if len(get(t, client, optedInName).Webhooks) != 1 {
		t.Error("the webhook for namespaces that opted in is not back")
	}

	secrets := client.CoreV1().Secrets("tulle")
	secret, err := secrets.Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{servingcert.ServingCert: []byte("junk")}
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := u.served(t)
	mustReconcile(t, u)
	if u.served(t).Equal(before) {
		t.Error("junk in the Secret was not replaced")
	}
	if bytes.Equal(get(t, client, configurationName).Webhooks[0].ClientConfig.CABundle,
		good.Webhooks[0].ClientConfig.CABundle) {
		t.Error("the new authority was not announced")
	}
}

func TestReplicasShareOneCertificate(t *testing.T) {
	client := fake.NewClientset(installed())
	a, b := upkeepAt(client, time.Now()), upkeepAt(client, time.Now())
	mustReconcile(t, a)
	mustReconcile(t, b)
	if !a.served(t).Equal(b.served(t)) {
		t.Error("two replicas serve two certificates")
	}
}

func TestNewCertificateIsServedOnlyWhenAnnounced(t *testing.T) {
	now := time.Now()
	client := fake.NewClientset(installed())
	u := upkeepAt(client, now)
	mustReconcile(t, u)
	before := u.served(t)

	u.now = now.Add(servingcert.ServingLife) // everything has expired
	configs := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if err := configs.Delete(t.Context(), configurationName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := u.Reconcile(t.Context()); err == nil {
		t.Error("a configuration that is gone is no error")
	}
	if !u.served(t).Equal(before) {
		t.Error("a certificate is served that no API server knows")
	}
	if _, err := configs.Create(t.Context(), installed(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mustReconcile(t, u)
	if u.served(t).Equal(before) {
		t.Error("the new certificate is not served")
	}
}

func TestAnnouncementPolicy(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    announcement
		want int
	}{
		{"nobody opted in", announcement{policy: inject.FailClosed}, 0},
		{"fail closed", announcement{policy: inject.FailClosed, optedIn: []string{"shop"}}, 1},
		{"fail open", announcement{policy: inject.FailOpen, optedIn: []string{"shop"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.a.optedInConfiguration(installed())
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Webhooks) != tt.want {
				t.Errorf("%d webhooks, want %d", len(c.Webhooks), tt.want)
			}
		})
	}
	if _, err := (announcement{}).optedInConfiguration(&configuration{}); err == nil {
		t.Error("a configuration without the base webhook is no error")
	}
	if slices.IsSorted([]string{optedInName, configurationName}) {
		t.Error("the API server would call the webhook that fails closed first")
	}
}

func TestRecorderWritesOnce(t *testing.T) {
	client := fake.NewClientset()
	r := newRecorder(client, newMetrics(prometheus.NewRegistry()), zap.NewNop())
	about := corev1.ObjectReference{Kind: "Deployment", Namespace: "shop", Name: "web", UID: "1"}
	for range 5 {
		r.notify(event{about: about, reason: "Injected", message: "m"})
	}
	r.notify(event{about: about, reason: "InjectionSkipped", message: "m"})
	r.notify(event{reason: "Injected", message: "about nothing"})
	ctx, cancel := context.WithCancel(t.Context())
	written := 0
	client.PrependReactor("create", "events", func(k8stesting.Action) (bool, runtime.Object, error) {
		if written++; written == 2 {
			cancel() // the second kind was queued last
		}
		return false, nil, nil
	})
	if err := r.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
	if written != 2 {
		t.Errorf("%d events were written, want one of each reason", written)
	}
}
