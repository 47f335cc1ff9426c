package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

const (
	issuerSecret = "tulle-identity-issuer"
	anchorSecret = "tulle-identity-trust-anchor"
)

// TestForeignIssuerIsRefused replaces the issuer by one that the trust anchors do not know: the last good one stays in
// force.
func TestForeignIssuerIsRefused(t *testing.T) {
	data := func() string {
		return mustKubectl(t, "-n", meshNS, "get", "secret", issuerSecret, "-o", "jsonpath={.data}")
	}
	patch := func(data string) {
		mustKubectl(t, "-n", meshNS, "patch", "secret", issuerSecret, "--type=merge", "-p", `{"data":`+data+`}`)
	}
	mustKubectl(t, "-n", meshNS, "delete", "events", "--field-selector=reason=IssuerValidationFailed") // of earlier runs
	good := data()
	t.Cleanup(func() { patch(good) })
	cert, key := foreignIssuer(t)
	encode := base64.StdEncoding.EncodeToString
	patch(fmt.Sprintf(`{"tls.crt":%q,"tls.key":%q}`, encode(cert), encode(key)))

	eventually(t, time.Minute, func() error {
		events := mustKubectl(t, "-n", meshNS, "get", "events", "-o", "jsonpath={.items[*].reason}")
		if !strings.Contains(events, "IssuerValidationFailed") {
			return fmt.Errorf("no Event IssuerValidationFailed among %s", events)
		}
		return nil
	})
	// A new pod still gets a certificate.
	mustKubectl(t, "-n", appNS, "rollout", "restart", "deployment/strict")
	mustKubectl(t, "-n", appNS, "rollout", "status", "deployment/strict", "--timeout=120s")
	serverSaw(t, meshed.http(t, "-url", "http://strict.e2e/"))
}

// TestDeletedTrustAnchorIsRestored takes the anchor away that the controller made, and sees the same one come back at
// once.
func TestDeletedTrustAnchorIsRestored(t *testing.T) {
	anchor := func() string {
		return mustKubectl(t, "-n", meshNS, "get", "secret", anchorSecret, "--ignore-not-found", "-o", `jsonpath={.data}`)
	}
	before := anchor()
	mustKubectl(t, "-n", meshNS, "delete", "secret", anchorSecret)
	eventually(t, 10*time.Second, func() error {
		if anchor() != before {
			return errors.New("the anchor is not there, or is another one")
		}
		return nil
	})
	eventually(t, 10*time.Second, func() error {
		if mustKubectl(t, "-n", meshNS, "get", "events", "--field-selector", "reason=TrustAnchorRestored", "-o",
			"name") == "" {
			return errors.New("no Event says so")
		}
		return nil
	})
}

// TestTrustAnchorRotatesUnderLoad lets `tulle identity rotate` replace the anchor, interrupted once on the way. No
// request fails and no container restarts meanwhile, and in the end nobody has a certificate of the old anchor.
func TestTrustAnchorRotatesUnderLoad(t *testing.T) {
	bundle := func(namespace string) string {
		return mustKubectl(t, "-n", namespace, "get", "configmap", "tulle-identity-trust-roots", "-o",
			`jsonpath={.data.ca-bundle\.crt}`)
	}
	pods := func() string {
		return mustKubectl(t, "-n", appNS, "get", "pods", "-l", "app in (client,server)", "-o",
			`jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount}{"\n"}{end}`)
	}
	oldBundle, oldPods := bundle(meshNS), pods()
	rotated := make(chan struct{})
	go func() {
		defer close(rotated)
		began := time.Now()
		out, err := run(20*time.Second, nil, env.tulle, "identity", "rotate")
		if err == nil {
			t.Errorf("rotated within 20 s, which no kubelet allows:\n%s", out)
		}
		out, err = run(10*time.Second, nil, env.tulle, "identity", "rotate", "--status")
		if err != nil || !strings.Contains(string(out), "1. add") {
			t.Errorf("after the interruption, the status is %s (%v)", out, err)
		}
		if out, err = run(10*time.Minute, nil, env.tulle, "identity", "rotate"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("rotated within %v:\n%s", time.Since(began).Round(time.Second), out)
	}()
	for done := false; !done; { // loads one after another, the last of them after the rotation
		select {
		case <-rotated:
			done = true
		default:
		}
		got := underLoad(t, func() {}, "-url", "http://server.e2e/", "-rate", "200", "-count", "10000")
		got.mustBeWhole(t, 10000)
	}
	serverSaw(t, meshed.http(t, "-url", "http://strict.e2e/"))
	if now := pods(); now != oldPods {
		t.Errorf("pods and restarts were\n%sand are\n%s", oldPods, now)
	}
	for _, namespace := range []string{meshNS, appNS} {
		if now := bundle(namespace); strings.Count(now, "BEGIN CERTIFICATE") != 1 || now == oldBundle {
			t.Errorf("the bundle of namespace %s was\n%s\nand is\n%s", namespace, oldBundle, now)
		}
	}
}

// TestRevokedAccountIsCut revokes the server's ServiceAccount: within five seconds a stream of the client ends and
// requests fail, and when it is trusted again, they do not.
func TestRevokedAccountIsCut(t *testing.T) {
	account := mustKubectl(t, "-n", appNS, "get", "pods", "-l", "app=server", "-o",
		"jsonpath={.items[0].spec.serviceAccountName}")
	revoke := func(args ...string) {
		t.Helper()
		args = append([]string{"identity", "revoke", "--service-account", appNS + "/" + account}, args...)
		if out, err := run(10*time.Second, nil, env.tulle, args...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	answered := func() error {
		out, err := meshed.app("load", "-url", "http://server.e2e/", "-rate", "10", "-count", "5")
		if err != nil {
			return err
		}
		if got := decode[load](t, out); got.OK != got.Sent {
			return fmt.Errorf("%d of %d requests answered: %v %v", got.OK, got.Sent, got.Statuses, got.Errors)
		}
		return nil
	}
	if err := answered(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { revoke("--undo") })
	got := underLoad(t, func() {
		time.Sleep(3 * time.Second) // of load before
		revoke()
	}, "-url", "http://server.e2e/", "-rate", "100", "-count", "1500")
	if got.OK == 0 || got.OK > 900 { // of 15 s, 3 before and 5 to be cut, and the time that kubectl exec takes
		t.Errorf("%d of %d requests were answered, want those of the first 3 to 9 seconds: %v %v", got.OK, got.Sent,
			got.Statuses, got.Errors)
	}
	if err := answered(); err == nil {
		t.Error("a revoked server is still talked to")
	}
	revoke("--undo")
	eventually(t, 10*time.Second, answered)
}

func foreignIssuer(t *testing.T) (cert, key []byte) {
	t.Helper()
	return selfSigned(t, "identity.tulle.cluster.local")
}

// selfSigned returns the certificate of an authority that also serves the hosts, and its key.
func selfSigned(t *testing.T, name string, hosts ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
