package check

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// expiresSoon is when a certificate is worth a warning. Source: linkerd check.
const expiresSoon = 60 * 24 * time.Hour

func identityChecks() category {
	return category{"tulle-identity", []check{
		{anchor: "l5d-identity-cert-config-valid", text: "certificate config is valid", fatal: true, transient: true,
			ask: askCertificates},
		{anchor: "l5d-identity-trustAnchors-use-supported-crypto", text: "trust anchors are using supported crypto algorithm",
			ask: askAnchorsCrypto},
		{anchor: "l5d-identity-trustAnchors-are-time-valid", text: "trust anchors are within their validity period",
			ask: askAnchorsValid},
		{anchor: "l5d-identity-trustAnchors-not-expiring-soon", text: "trust anchors are valid for at least 60 days",
			warns: true, ask: askAnchorsLast},
		{anchor: "l5d-identity-issuer-cert-is-time-valid", text: "issuer cert is within its validity period",
			ask: askIssuerValid},
		{anchor: "l5d-identity-issuer-cert-not-expiring-soon", text: "issuer cert is valid for at least 60 days", warns: true,
			ask: askIssuerLasts},
		{anchor: "l5d-identity-issuer-cert-issued-by-trust-anchor", text: "issuer cert is issued by the trust anchor",
			ask: askIssuerChain},
		{anchor: "l5d-identity-trust-anchor-kept", text: "the trust anchor that renews the issuer is kept", warns: true,
			ask: askAnchorSecret},
		{anchor: "l5d-identity-trust-roots-everywhere", text: "trust anchors are the same in every namespace",
			transient: true,
			ask:       askTrustRoots},
	}}
}

func webhookChecks() category {
	return category{"tulle-webhooks", []check{
		{anchor: "l5d-proxy-injector-webhook-cert-valid", text: "proxy-injector webhook has valid cert",
			transient: true,
			ask:       askWebhookCertificate},
		{anchor: "l5d-proxy-injector-webhook-failure-policy", text: "proxy-injector webhook is as installed", warns: true,
			ask: askWebhookRules},
	}}
}

// anchors returns the trust anchors of the control plane's namespace.
func anchors(f *facts) ([]*x509.Certificate, error) {
	if f.trustRoots.err != nil {
		return nil, f.trustRoots.err
	}
	for _, cm := range f.trustRoots.value.Items {
		if cm.Namespace == f.namespace && cm.Name == mesh.TrustRootsConfigMap {
			certs, _, err := install.ParseCertificates(cm.Data[mesh.TrustRootsKey])
			if err != nil {
				return nil, fmt.Errorf("ConfigMap %s: %w", cm.Name, err)
			}
			return certs, nil
		}
	}
	return nil, fmt.Errorf("there is no ConfigMap %s in namespace %s", mesh.TrustRootsConfigMap, f.namespace)
}

// issuer returns the issuer's certificate and the intermediates that come with it.
func issuer(f *facts) ([]*x509.Certificate, error) {
	if f.issuer.err != nil {
		return nil, f.issuer.err
	}
	return installation.IssuerChain(f.issuer.value)
}

func askCertificates(f *facts) error {
	_, errAnchors := anchors(f)
	_, errIssuer := issuer(f)
	return errors.Join(errAnchors, errIssuer)
}

// askAnchorSecret concerns issuers that the controller made: it renews them with the anchor's key.
func askAnchorSecret(f *facts) error {
	if f.issuer.err != nil {
		return f.issuer.err
	}
	if !installation.MadeHere(f.issuer.value) {
		return errNotAsked
	}
	return f.anchor.err
}

// eachAnchor joins what ask finds wrong with every trust anchor.
func eachAnchor(f *facts, ask func(*x509.Certificate) error) error {
	certs, err := anchors(f)
	errs := []error{err}
	for _, cert := range certs {
		if err := ask(cert); err != nil {
			errs = append(errs, fmt.Errorf("%s (serial %x): %w", cert.Subject.CommonName, cert.SerialNumber, err))
		}
	}
	return errors.Join(errs...)
}

func askAnchorsCrypto(f *facts) error {
	return eachAnchor(f, func(cert *x509.Certificate) error {
		// At a moment when the certificate is valid, only its kind can be wrong.
		return install.CheckAnchor(cert, cert.NotBefore)
	})
}

func askAnchorsValid(f *facts) error {
	return eachAnchor(f, func(cert *x509.Certificate) error { return within(cert, f.now) })
}

func askAnchorsLast(f *facts) error {
	return eachAnchor(f, func(cert *x509.Certificate) error { return lasts(cert, f.now) })
}

func within(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("not valid before %s", cert.NotBefore.Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return fmt.Errorf("not valid anymore. Expired on %s", cert.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func lasts(cert *x509.Certificate, now time.Time) error {
	if left := cert.NotAfter.Sub(now); left < expiresSoon {
		return fmt.Errorf("will expire on %s", cert.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func askIssuerValid(f *facts) error {
	certs, err := issuer(f)
	if err != nil {
		return err
	}
	return within(certs[0], f.now)
}

func askIssuerLasts(f *facts) error {
	certs, err := issuer(f)
	if err != nil {
		return err
	}
	return lasts(certs[0], f.now)
}

func askIssuerChain(f *facts) error {
	certs, err := issuer(f)
	if err != nil {
		return err
	}
	roots, err := anchors(f)
	if err != nil {
		return err
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: f.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, root := range roots {
		opts.Roots.AddCert(root)
	}
	for _, cert := range certs[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err = certs[0].Verify(opts)
	return err
}

// askTrustRoots finds namespaces in which a new pod would not start, or would not trust the mesh.
func askTrustRoots(f *facts) error {
	if err := errors.Join(f.trustRoots.err, f.namespaces.err); err != nil {
		return err
	}
	bundles := map[string]string{}
	for _, cm := range f.trustRoots.value.Items {
		if cm.Name == mesh.TrustRootsConfigMap {
			bundles[cm.Namespace] = cm.Data[mesh.TrustRootsKey]
		}
	}
	var missing, different []string
	for _, ns := range f.namespaces.value.Items {
		bundle, ok := bundles[ns.Name]
		switch {
		case ns.Status.Phase == corev1.NamespaceTerminating:
		case !ok:
			missing = append(missing, ns.Name)
		case bundle != bundles[f.namespace]:
			different = append(different, ns.Name)
		}
	}
	var errs []error
	if missing != nil {
		errs = append(errs, fmt.Errorf("namespaces without %s: %s", mesh.TrustRootsConfigMap, cluster.Abbreviate(missing)))
	}
	if different != nil {
		errs = append(errs, fmt.Errorf("namespaces with other trust anchors than %s: %s", f.namespace,
			cluster.Abbreviate(different)))
	}
	return errors.Join(errs...)
}

// mutable returns an error if nobody can renew the certificate of a Secret.
func mutable(secret *corev1.Secret) error {
	if secret == nil || secret.Immutable == nil || !*secret.Immutable {
		return nil
	}
	return fmt.Errorf("Secret %s/%s is immutable, so its certificate cannot be renewed: kubectl delete secret -n %s %s",
		secret.Namespace, secret.Name, secret.Namespace, secret.Name)
}

// askWebhookCertificate verifies the injector's certificate as the API server will.
func askWebhookCertificate(f *facts) error {
	if err := errors.Join(f.webhook.err, f.injectorTLS.err); err != nil {
		return err
	}
	block, _ := pem.Decode(f.injectorTLS.value.Data[corev1.TLSCertKey])
	if block == nil {
		return fmt.Errorf("Secret %s holds no certificate", f.injectorTLS.value.Name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("Secret %s: %w", f.injectorTLS.value.Name, err)
	}
	errs := []error{mutable(f.injectorTLS.value)}
	for _, hook := range f.webhook.value.Webhooks {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(hook.ClientConfig.CABundle) {
			errs = append(errs, fmt.Errorf("webhook %s has no caBundle yet: the injector writes it when it starts", hook.Name))
			continue
		}
		host := fmt.Sprintf("%s.%s.svc", mesh.InjectorName, f.namespace)
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: f.now}); err != nil {
			errs = append(errs, fmt.Errorf("webhook %s: %w", hook.Name, err))
		}
	}
	return errors.Join(errs...)
}
