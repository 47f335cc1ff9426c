// Package certificate shows the certificates that proxies present.
//
// It owns how a pod's proxy is asked for its certificate, and the text of one. It verifies nothing: what it shows is
// what a peer would see.
package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// handshakeTimeout bounds one look at a certificate.
const handshakeTimeout = 10 * time.Second

// errSeen ends a handshake once the certificate was seen: there is no client certificate to go on with.
var errSeen = errors.New("certificate seen")

// Presented returns the chain that the pod's proxy presents, leaf first, unverified.
func Presented(ctx context.Context, cl *cluster.Client, pod *corev1.Pod) ([]*x509.Certificate, error) {
	proxy := sidecar.Of(pod)
	if proxy == nil {
		return nil, errors.New("it has no proxy")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := cl.DialPod(ctx, pod.Namespace, pod.Name, sidecar.ContainerPort(proxy, "tulle-proxy", mesh.InboundPort))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var chain []*x509.Certificate
	client := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{mesh.ALPNMux},
		// Nothing is sent over this connection, and what is shown is labelled as unverified.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain = state.PeerCertificates
			return errSeen
		},
	})
	if err := client.HandshakeContext(ctx); !errors.Is(err, errSeen) {
		return nil, fmt.Errorf("look at its certificate: %w", err)
	}
	return chain, nil
}

// Write prints a certificate in the layout of `openssl x509 -text`.
func Write(w io.Writer, cert *x509.Certificate) {
	fmt.Fprintf(w, `Certificate:
    Data:
        Version: %d (%#x)
        Serial Number: %s
    Signature Algorithm: %s
        Issuer: %s
        Validity
            Not Before: %s
            Not After : %s
        Subject: %s
        Subject Public Key Info:
            Public Key Algorithm: %s
        X509v3 extensions:
`, cert.Version, cert.Version-1, serial(cert), cert.SignatureAlgorithm, cert.Issuer,
		cert.NotBefore.UTC().Format(openSSLTime), cert.NotAfter.UTC().Format(openSSLTime), cert.Subject, publicKey(cert))
	if usage := keyUsages(cert); usage != "" {
		fmt.Fprintf(w, "            X509v3 Key Usage:\n                %s\n", usage)
	}
	fmt.Fprintf(w, "            X509v3 Basic Constraints:\n                CA:%s\n",
		strings.ToUpper(fmt.Sprint(cert.IsCA)))
	var names []string
	for _, uri := range cert.URIs {
		names = append(names, "URI:"+uri.String())
	}
	for _, name := range cert.DNSNames {
		names = append(names, "DNS:"+name)
	}
	if names != nil {
		fmt.Fprintf(w, "            X509v3 Subject Alternative Name:\n                %s\n", strings.Join(names, ", "))
	}
}

const openSSLTime = "Jan _2 15:04:05 2006 GMT"

func serial(cert *x509.Certificate) string {
	parts := make([]string, 0, 20)
	for _, b := range cert.SerialNumber.Bytes() {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

func publicKey(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	}
	return cert.PublicKeyAlgorithm.String()
}

func keyUsages(cert *x509.Certificate) string {
	var usages []string
	for _, u := range []struct {
		bit  x509.KeyUsage
		name string
	}{
		{x509.KeyUsageDigitalSignature, "Digital Signature"}, {x509.KeyUsageKeyEncipherment, "Key Encipherment"},
		{x509.KeyUsageCertSign, "Certificate Sign"}, {x509.KeyUsageCRLSign, "CRL Sign"},
	} {
		if cert.KeyUsage&u.bit != 0 {
			usages = append(usages, u.name)
		}
	}
	for _, u := range cert.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			usages = append(usages, "TLS Web Server Authentication")
		case x509.ExtKeyUsageClientAuth:
			usages = append(usages, "TLS Web Client Authentication")
		}
	}
	return strings.Join(usages, ", ")
}
