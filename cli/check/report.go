package check

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/install"
)

// Report is what one reading of the cluster says, as values for a program that shows them itself.
type Report struct {
	Groups []Group
	// Certificates are the trust anchors, the issuer and the injector's certificate, in this order.
	Certificates []Certificate
}

// Group is the checks under one heading.
type Group struct {
	Name   string
	Checks []Answer
}

// Answer is the answer to one check.
type Answer struct {
	// Text is what was checked.
	Text string
	// Result is success, warning or error, as in `-o json`.
	Result string
	// Message says what is wrong, in lines; "" if nothing is. Hint is the address that explains it.
	Message, Hint string
}

// The parts that certificates have in the mesh.
const (
	TrustAnchor = "trust anchor"
	Issuer      = "issuer"
	Injector    = "injector"
)

// Certificate is one certificate that the mesh depends on, or why it is not known.
type Certificate struct {
	// Part is TrustAnchor, Issuer or Injector.
	Part string
	// Name is the common name of its subject, or its first DNS name. Serial is in hexadecimal.
	Name, Serial string
	From, To     time.Time
	// Err says why nothing is known of it; the rest but Part is zero then.
	Err error
}

// Look asks all questions once. It does not wait for failures that may pass. A panic of a check is a failed check: the
// caller serves others too.
func Look(ctx context.Context, opts Options) (report Report) {
	defer func() {
		if panicked := recover(); panicked != nil {
			report = Report{Groups: []Group{{Name: "tulle", Checks: []Answer{{Text: "the checks run to their end",
				Result: string(failed), Message: fmt.Sprintf("panic: %v", panicked), Hint: hintBase}}}}}
		}
	}()
	f := gather(ctx, opts, nil)
	return Report{Groups: groups(examine(checks(opts), f)), Certificates: certificates(f)}
}

func groups(results Results) (out []Group) {
	for _, cat := range results {
		group := Group{Name: cat.name}
		for _, r := range cat.checks {
			answer := Answer{Text: r.title(), Result: string(r.result)}
			if r.err != nil {
				answer.Message, answer.Hint = r.err.Error(), hintBase+r.anchor
			}
			group.Checks = append(group.Checks, answer)
		}
		out = append(out, group)
	}
	return out
}

// certificates returns those of the reading. A cluster that did not answer has none: the checks say so.
func certificates(f *facts) (out []Certificate) {
	if f.client != nil || f.version.err != nil || f.trustRoots.value == nil && f.trustRoots.err == nil {
		return nil
	}
	add := func(part string, certs []*x509.Certificate, err error) {
		if err != nil {
			out = append(out, Certificate{Part: part, Err: err})
		}
		for _, c := range certs {
			name := c.Subject.CommonName
			if name == "" && len(c.DNSNames) > 0 {
				name = c.DNSNames[0]
			}
			out = append(out, Certificate{Part: part, Name: name, Serial: fmt.Sprintf("%x", c.SerialNumber), From: c.NotBefore,
				To: c.NotAfter})
		}
	}
	roots, err := anchors(f)
	add(TrustAnchor, roots, err)
	chain, err := issuer(f)
	add(Issuer, chain, err)
	served, err := injectorCertificate(f)
	add(Injector, served, err)
	return out
}

func injectorCertificate(f *facts) ([]*x509.Certificate, error) {
	if f.injectorTLS.err != nil {
		return nil, f.injectorTLS.err
	}
	certs, _, err := install.ParseCertificates(string(f.injectorTLS.value.Data[corev1.TLSCertKey]))
	if err != nil {
		return nil, fmt.Errorf("Secret %s, key %s: %w", f.injectorTLS.value.Name, corev1.TLSCertKey, err)
	}
	return certs, nil
}
