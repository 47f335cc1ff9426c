package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/extension"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
	"github.com/tulle-mesh/tulle/viz/table"
)

// tapDaysLeft is how long the tap server's certificate must last: it lasts 30 days and is renewed after 20.
const tapDaysLeft = 7

func tapChecks() []check {
	return []check{
		{anchor: "l5d-tap-cert-valid", text: "tap API server has valid cert", transient: true, ask: askTapCertificate},
		{anchor: "l5d-tap-cert-not-expiring-soon",
			text: fmt.Sprintf("tap API server cert is valid for at least %d days", tapDaysLeft), warns: true,
			ask: askTapExpiry},
		{anchor: "l5d-tap-api", text: "tap API service is available", transient: true, ask: askTapAPI},
	}
}

// tapFacts are what the checks of tap see.
type tapFacts struct {
	service fact[*unstructured.Unstructured] // the APIService
	secret  fact[*corev1.Secret]             // with the certificate, which not everybody may read
	served  fact[*x509.Certificate]          // what the API server would meet, verified as it does
	// untapped are the pods that tap can watch after a restart, by namespace.
	untapped fact[map[string]int]
	// outdated are the pods that somebody may watch who could not after a restart.
	outdated fact[map[watcher][]string]
}

// watcher is an identity that may watch pods of a namespace.
type watcher struct{ namespace, id string }

// askTapServer bounds the handshake with the tap server.
const askTapServer = 10 * time.Second

// gatherTap reads what the checks of tap ask for.
func gatherTap(ctx context.Context, cl *cluster.Client, t vizinstall.Target, pods []corev1.Pod) (f tapFacts) {
	f.service = learn(cl.Dynamic.Resource(inject.APIServices).Get(ctx, mesh.TapAPIService, metav1.GetOptions{}))
	f.secret = learn(cl.CoreV1().Secrets(t.Namespace).Get(ctx, mesh.TapSecret, metav1.GetOptions{}))
	if f.served.err = f.service.err; f.served.err == nil {
		f.served = learn(tapCertificate(ctx, cl, f.service.value, t.Namespace, pods))
	}
	return f
}

// tapCertificate connects to a pod of tap, and verifies what it serves with the authorities of the APIService.
func tapCertificate(
	ctx context.Context, cl *cluster.Client, service *unstructured.Unstructured, namespace string, pods []corev1.Pod,
) (*x509.Certificate, error) {
	text, _, _ := unstructured.NestedString(service.Object, "spec", "caBundle")
	bundle, err := base64.StdEncoding.DecodeString(text)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("APIService %s has no caBundle yet: tap writes it when it starts", service.GetName())
	}
	i := slices.IndexFunc(pods, func(pod corev1.Pod) bool {
		return pod.Labels["component"] == vizinstall.TapName && pod.DeletionTimestamp == nil && notReady(&pod) == ""
	})
	if i < 0 {
		return nil, fmt.Errorf("no pod of %s is ready", vizinstall.TapName)
	}
	ctx, cancel := context.WithTimeout(ctx, askTapServer)
	defer cancel()
	conn, err := cl.DialPod(ctx, pods[i].Namespace, pods[i].Name, mesh.TapPort)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", pods[i].Name, err)
	}
	client := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: fmt.Sprintf("%s.%s.svc", mesh.TapName, namespace)})
	err = client.HandshakeContext(ctx)
	defer func() { _ = conn.Close() }()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pods[i].Name, err)
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

// withTap returns errNotAsked for an extension without tap.
func withTap(f *facts) error {
	if f.viz.values.err != nil || !f.viz.values.value.Tap.Enabled {
		return errNotAsked
	}
	return nil
}

func askTapCertificate(f *facts) error {
	if err := withTap(f); err != nil {
		return err
	}
	if secret := f.viz.tap.secret; secret.err == nil {
		return errors.Join(mutable(secret.value), f.viz.tap.served.err)
	}
	return f.viz.tap.served.err
}

func askTapExpiry(f *facts) error {
	if err := withTap(f); err != nil {
		return err
	}
	if f.viz.tap.served.err != nil {
		return errNotAsked // the check before says why
	}
	if end := f.viz.tap.served.value.NotAfter; end.Sub(f.now) < tapDaysLeft*24*time.Hour {
		return fmt.Errorf("it expires at %s, and should have been renewed ten days before", end.UTC().Format(time.RFC3339))
	}
	return nil
}

// askTapAPI wants the API server to reach tap, as its own condition says.
func askTapAPI(f *facts) error {
	if err := withTap(f); err != nil {
		return err
	}
	if f.viz.tap.service.err != nil {
		return f.viz.tap.service.err
	}
	conditions, _, _ := unstructured.NestedSlice(f.viz.tap.service.value.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] != "Available" {
			continue
		}
		if condition["status"] == "True" {
			return nil
		}
		return fmt.Errorf("%v: %v", condition["reason"], condition["message"])
	}
	return errors.New("the API server does not say yet whether it is")
}

// gatherTapRule compares who may watch the proxies with whom the injector would let watch them now.
func (f *facts) gatherTapRule(ctx context.Context, cl *cluster.Client, opts Options, own string) {
	if !opts.Proxy && !opts.Viz {
		return
	}
	tap := &f.viz.tap
	rule, err := extension.ReadTapRule(ctx, cl, own)
	if f.pods.err != nil {
		err = f.pods.err
	}
	if err != nil {
		tap.untapped.err, tap.outdated.err = err, err
		return
	}
	tap.untapped.value, tap.outdated.value = map[string]int{}, map[watcher][]string{}
	f.eachPod(func(pod *corev1.Pod) {
		if rule.AfterRestart(pod) {
			tap.untapped.value[pod.Namespace]++
		}
		if id := rule.Outdated(pod); id != "" {
			w := watcher{pod.Namespace, id}
			tap.outdated.value[w] = append(tap.outdated.value[w], pod.Name)
		}
	})
}

func askUntapped(f *facts) error {
	if err := withTap(f); err != nil {
		return err
	}
	if f.viz.tap.untapped.err != nil {
		return f.viz.tap.untapped.err
	}
	var errs []error
	for _, ns := range slices.Sorted(maps.Keys(f.viz.tap.untapped.value)) {
		errs = append(errs, fmt.Errorf("%s: %d pods were injected before tap was turned on; kubectl -n %s rollout restart "+
			"deploy,sts,ds", ns, f.viz.tap.untapped.value[ns], ns))
	}
	return errors.Join(errs...)
}

// outdatedTap asks about proxies that let somebody watch who could not after a restart. The usual reason is that the
// extension was removed, so it asks without the extension too. But then it is shown only if it warns.
var outdatedTap = check{anchor: "l5d-viz-data-plane-tap-identity",
	text: "data plane proxies accept tap from the installed extension only", warns: true, ask: askOutdatedTap}

func askOutdatedTap(f *facts) error {
	outdated := f.viz.tap.outdated
	read, installed := outdated.value != nil || outdated.err != nil, len(f.viz.namespaces.value) > 0
	if !read || !installed && len(outdated.value) == 0 {
		return errNotAsked
	}
	if outdated.err != nil {
		return outdated.err
	}
	var lines []string
	for w, pods := range outdated.value {
		slices.Sort(pods)
		lines = append(lines, fmt.Sprintf("%s: until a restart %s may watch %s; kubectl -n %s rollout restart deploy,sts,ds",
			w.namespace, table.Safe(w.id), cluster.Abbreviate(pods), w.namespace))
	}
	if lines == nil {
		return nil
	}
	slices.Sort(lines)
	return errors.New(strings.Join(lines, "\n"))
}
