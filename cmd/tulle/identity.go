package main

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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) identityCommand() *cobra.Command {
	var selector string
	cmd := &cobra.Command{
		Use:   "identity [flags] [KIND/NAME | POD]",
		Short: "Print the certificates that proxies present",
		Long: `identity connects to the proxy of each pod through a port-forward and prints the certificate that it presents. The certificate is
not verified: this shows what a peer would get to see. A name without a kind is that of a pod.`,
		Example: `  tulle identity -n shop web-5d8f7c-x2x7q
  tulle identity -n shop deploy/web
  tulle identity -n shop -l app=web`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && selector == "":
				return errors.New("name a pod, or a resource that has pods such as deploy/web, or give a selector with -l")
			case len(args) > 0 && selector != "":
				return errors.New("name a resource, or give a selector with -l, not both")
			}
			return c.identity(cmd.Context(), args, selector)
		},
	}
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector of the pods")
	return cmd
}

func (c *cli) identity(ctx context.Context, args []string, selector string) error {
	kind, name := "pod", ""
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		name = args[0]
	} else if len(args) > 0 {
		var err error
		if kind, name, err = cluster.ParseResource(args); err != nil {
			return err
		}
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return err
	}
	var pods []corev1.Pod
	if selector == "" {
		pods, err = cluster.PodsOf(ctx, cl, kind, name)
	} else {
		var list *corev1.PodList
		if list, err = cl.CoreV1().Pods(cl.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector}); err == nil {
			pods = list.Items
		}
	}
	if err != nil && len(args) == 1 && args[0] == name {
		return fmt.Errorf("%w; a workload needs its kind, such as deploy/%s", err, name)
	}
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return fmt.Errorf("no pods of %s in namespace %s", selector, cl.Namespace)
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	var errs []error
	for i := range pods {
		fmt.Fprintf(c.out, "\nPOD %s (%d of %d)\n\n", pods[i].Name, i+1, len(pods))
		certs, err := presented(ctx, cl, &pods[i])
		if err != nil {
			fmt.Fprintf(c.out, "ERROR %v\n", err)
			errs = append(errs, fmt.Errorf("pod %s/%s: %w", pods[i].Namespace, pods[i].Name, err))
			continue
		}
		writeCertificate(c.out, certs[0])
	}
	return errors.Join(errs...)
}

// handshakeTimeout bounds one look at a certificate.
const handshakeTimeout = 10 * time.Second

// errSeen ends a handshake once the certificate was seen: there is no client certificate to go on with.
var errSeen = errors.New("certificate seen")

// presented returns the chain that the pod's proxy presents, leaf first, unverified.
func presented(ctx context.Context, cl *cluster.Client, pod *corev1.Pod) ([]*x509.Certificate, error) {
	proxy := cluster.ProxyOf(pod)
	if proxy == nil {
		return nil, errors.New("it has no proxy")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := cl.DialPod(ctx, pod.Namespace, pod.Name, cluster.ContainerPort(proxy, "tulle-proxy", mesh.InboundPort))
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

// writeCertificate prints a certificate in the layout of `openssl x509 -text`.
func writeCertificate(w io.Writer, cert *x509.Certificate) {
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
	fmt.Fprintf(w, "            X509v3 Basic Constraints:\n                CA:%s\n", strings.ToUpper(fmt.Sprint(cert.IsCA)))
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
