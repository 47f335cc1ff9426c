package servingcert

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
)

// replica is a Manager whose clock is off by skew from the API server's time.
type replica struct {
	*Manager
	now, skew time.Duration // since begin
	begin     time.Time
}

func newReplica(client kubernetes.Interface, skew time.Duration) *replica {
	r := &replica{skew: skew, begin: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	r.Manager = New(Config{Client: client, Namespace: "tulle", Secret: "tls", Service: "tulle-proxy-injector",
		Owner: "test", Announce: func(context.Context, []byte) error { return nil }, Failed: func() {},
		Serving: func(time.Time) {}, Now: func() time.Time { return r.begin.Add(r.now + r.skew) }, Log: zap.NewNop()})
	r.serverTime = func(context.Context) (time.Time, error) { return r.begin.Add(r.now), nil }
	return r
}

func secretOf(t *testing.T, client kubernetes.Interface) *corev1.Secret {
	t.Helper()
	secret, err := client.CoreV1().Secrets("tulle").Get(t.Context(), "tls", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestOneWrongClockStartsNoQuarrel has two replicas that take turns over the life of a certificate. The one with the
// wrong clock writes nothing, and the other one keeps its authority.
func TestOneWrongClockStartsNoQuarrel(t *testing.T) {
	const day = 24 * time.Hour
	for name, skew := range map[string]time.Duration{
		"eleven minutes behind": -11 * time.Minute, "31 days behind": -31 * day, "four minutes behind": -4 * time.Minute,
		"21 days ahead": 21 * day, "31 days ahead": 31 * day, "right": 0,
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			a, b := newReplica(client, 0), newReplica(client, skew)
			if err := a.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			authority, writes, last := string(secretOf(t, client).Data[AuthorityCerts]), 0, ""
			for a.now = 0; a.now < 50*day; a.now += 6 * time.Hour {
				b.now = a.now
				if err := a.Reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
				_ = b.Reconcile(t.Context()) // it may complain
				data := secretOf(t, client).Data
				if string(data[AuthorityCerts]) != authority {
					t.Fatalf("after %s: another authority", a.now)
				}
				if cert := string(data[ServingCert]); cert != last {
					last, writes = cert, writes+1
				}
			}
			if writes > 4 {
				t.Errorf("%d serving certificates in 50 days", writes)
			}
		})
	}
}

// TestFutureCertificateIsReplaced heals what a replica with a wrong clock wrote when there was no Secret.
func TestFutureCertificateIsReplaced(t *testing.T) {
	client := fake.NewClientset()
	ahead, right := newReplica(client, 40*24*time.Hour), newReplica(client, 0)
	if err := ahead.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := right.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := decodeCredentials(secretOf(t, client).Data)
	if err != nil || c.check(testName, right.cfg.Now()) != nil {
		t.Errorf("the certificate is not valid: %v", err)
	}
}

// TestReplacementsAreBounded lets somebody break the Secret again and again.
func TestReplacementsAreBounded(t *testing.T) {
	client := fake.NewClientset()
	r := newReplica(client, 0)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Duration
		want string
	}{{0, ""}, {time.Minute, "the next replacement is after 10m0s"}, {11 * time.Minute, ""}} {
		secret := secretOf(t, client)
		secret.Data = map[string][]byte{ServingCert: []byte("junk")}
		if _, err := client.CoreV1().Secrets("tulle").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		r.now = c.at
		if err := r.Reconcile(t.Context()); (err == nil) != (c.want == "") || err != nil &&
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: error %v, want %q", c.at, err, c.want)
		}
	}
}

// TestRestoredSecretIsRepaired keeps the type of a Secret, and names the remedy for one that is immutable.
func TestRestoredSecretIsRepaired(t *testing.T) {
	immutable := true
	restored := func(change func(*corev1.Secret)) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: "tls"}, Type: corev1.SecretTypeOpaque,
			Data: map[string][]byte{ServingCert: []byte("junk")}}
		change(s)
		return s
	}
	client := fake.NewClientset(restored(func(*corev1.Secret) {}))
	r := newReplica(client, 0)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := secretOf(t, client); got.Type != corev1.SecretTypeOpaque || len(got.Data[AuthorityCerts]) == 0 {
		t.Errorf("type %s, authorities %q", got.Type, got.Data[AuthorityCerts])
	}
	client = fake.NewClientset(restored(func(s *corev1.Secret) { s.Immutable = &immutable }))
	const remedy = "kubectl delete secret -n tulle tls"
	if err := newReplica(client, 0).Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), remedy) {
		t.Errorf("error %v, want %q", err, remedy)
	}

	// One that is still good is served, although it cannot be renewed.
	client = fake.NewClientset()
	if err := newReplica(client, 0).Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := secretOf(t, client)
	good.Immutable = &immutable
	if _, err := client.CoreV1().Secrets("tulle").Update(t.Context(), good, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r = newReplica(client, 0)
	r.now = 25 * 24 * time.Hour
	if err := r.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), remedy) {
		t.Errorf("error %v, want %q", err, remedy)
	}
	if _, err := r.Certificate(nil); err != nil {
		t.Error(err)
	}
}

// TestTimeOf reads the API server's time from a response, even of one that refuses.
func TestTimeOf(t *testing.T) {
	want := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", want.Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := timeOf(t.Context(), client); err != nil || !got.Equal(want) {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if got, err := timeOf(t.Context(), fake.NewClientset()); err != nil || !got.IsZero() {
		t.Errorf("got %s, %v from a client without a server", got, err)
	}
}
