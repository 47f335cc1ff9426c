package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

var (
	web = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	api = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api"}
	now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// rawSAN returns the template of a request with a SAN extension of the general names.
func rawSAN(t testing.TB, names ...asn1.RawValue) x509.CertificateRequest {
	t.Helper()
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: value}}}
}

func uris(ids ...mesh.ID) []*url.URL {
	var out []*url.URL
	for _, id := range ids {
		out = append(out, id.URI())
	}
	return out
}

func TestRequestsThatNameAnybodyElseAreRefused(t *testing.T) {
	issuer, _ := newTestIssuer(t, Profile{})
	key := ecKey(t, elliptic.P256())
	uri := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: sanURI, Bytes: []byte(web.String())}
	host, _ := url.Parse("https://web.shop")
	lookalike, _ := url.Parse("spiffe://Cluster.local/ns/shop/sa/web")
	dotted, _ := url.Parse("spiffe://cluster.local/ns/shop/sa/x/../web")
	cases := []struct {
		name     string
		template x509.CertificateRequest
		want     error // nil: accepted
	}{
		{"no name at all", x509.CertificateRequest{}, nil},
		{"its own SPIFFE ID", x509.CertificateRequest{URIs: uris(web)}, nil},
		{"another SPIFFE ID", x509.CertificateRequest{URIs: uris(api)}, ErrForeignName},
		{"its own and another SPIFFE ID", x509.CertificateRequest{URIs: uris(web, api)}, ErrForeignName},
		{"its own SPIFFE ID twice", x509.CertificateRequest{URIs: uris(web, web)}, ErrForeignName},
		{"a URI that is not a SPIFFE ID", x509.CertificateRequest{URIs: []*url.URL{host}}, ErrForeignName},
		{"its own SPIFFE ID in other letters", x509.CertificateRequest{URIs: []*url.URL{lookalike}}, ErrForeignName},
		{"a path that another reader might clean", x509.CertificateRequest{URIs: []*url.URL{dotted}}, ErrForeignName},
		{"a host name", x509.CertificateRequest{DNSNames: []string{"web.shop.svc"}}, ErrForeignName},
		{"a host name beside its SPIFFE ID", x509.CertificateRequest{DNSNames: []string{"a.b"}, URIs: uris(web)},
			ErrForeignName},
		{"an IP address", x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}, ErrForeignName},
		{"an e-mail address", x509.CertificateRequest{EmailAddresses: []string{"a@b.c"}}, ErrForeignName},
		{"a common name", x509.CertificateRequest{Subject: pkix.Name{CommonName: web.String()}}, ErrForeignName},
		{"an organization", x509.CertificateRequest{Subject: pkix.Name{Organization: []string{"system:masters"}}},
			ErrForeignName},
		{"a directory name, which x509 does not show", rawSAN(t, uri,
			asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}), ErrForeignName},
		{"a registered ID, which x509 does not show", rawSAN(t, uri,
			asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{0x2a}}), ErrForeignName},
		{"an empty list of names", rawSAN(t), ErrForeignName},
		{"the right to be an authority", x509.CertificateRequest{URIs: uris(web), ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}}, ErrRequest},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			token, err := issuer.Prepare(request(t, key, c.template), web, now)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Fatalf("got token %v, error %v, want %v", token, err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkLeaf(t, issuer, token, key.Public())
		})
	}
}

// checkLeaf checks the rules of SPIFFE X509-SVID §2 to §4 for a leaf.
func checkLeaf(t *testing.T, issuer *Issuer, token *Token, key crypto.PublicKey) {
	t.Helper()
	leaf, err := issuer.Issue(token)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(leaf.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != web.String() {
		t.Errorf("URIs are %v, want %s alone", cert.URIs, web)
	}
	if len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) != 0 || len(cert.Subject.Names) != 0 {
		t.Errorf("the leaf has other names: %v %v %v %v", cert.DNSNames, cert.IPAddresses, cert.EmailAddresses, cert.Subject)
	}
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidSubjectAltName) && !ext.Critical {
			t.Error("the SAN of a certificate without subject must be critical (RFC 5280 §4.2.1.6)")
		}
	}
	if cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %t (said %t), key usage %b", cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage)
	}
	if cert.SerialNumber.BitLen() <= 64 || cert.SerialNumber.BitLen() > 159 {
		t.Errorf("serial number of %d bits", cert.SerialNumber.BitLen())
	}
	if k, ok := key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(cert.PublicKey) {
		t.Error("the leaf is for another key")
	}
}

func TestRequestsWithWrongKeysAreRefused(t *testing.T) {
	issuer, _ := newTestIssuer(t, Profile{})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := request(t, ecKey(t, elliptic.P256()), x509.CertificateRequest{URIs: uris(web)})
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	cases := []struct {
		name string
		csr  []byte
		ok   bool
	}{
		{"ECDSA P-256", good, true},
		{"ECDSA P-384", request(t, ecKey(t, elliptic.P384()), x509.CertificateRequest{}), true},
		{"Ed25519", request(t, edKey, x509.CertificateRequest{}), true},
		{"ECDSA P-224", request(t, ecKey(t, elliptic.P224()), x509.CertificateRequest{}), false},
		{"ECDSA P-521", request(t, ecKey(t, elliptic.P521()), x509.CertificateRequest{}), false},
		{"RSA 2048", request(t, rsaKey, x509.CertificateRequest{}), false},
		{"signature of another key", forged, false},
		{"trailing data", append(append([]byte(nil), good...), 0), false},
		{"cut short", good[:len(good)/2], false},
		{"nothing", nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := issuer.Prepare(c.csr, web, now)
			if c.ok && err != nil {
				t.Error(err)
			}
			if !c.ok && !errors.Is(err, ErrRequest) {
				t.Errorf("got %v, want %v", err, ErrRequest)
			}
		})
	}
}

// FuzzPrepare checks that for any request, the token is for the caller and the certificate names nobody else.
func FuzzPrepare(f *testing.F) {
	issuer, _ := newTestIssuer(f, Profile{})
	key := ecKey(f, elliptic.P256())
	f.Add(request(f, key, x509.CertificateRequest{URIs: uris(web)}))
	f.Add(request(f, key, x509.CertificateRequest{DNSNames: []string{"a"}}))
	f.Fuzz(func(t *testing.T, csr []byte) {
		token, err := issuer.Prepare(csr, web, now)
		if err != nil {
			return
		}
		leaf, err := issuer.Issue(token)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(leaf.Chain[0])
		if err != nil || len(cert.URIs) != 1 || cert.URIs[0].String() != web.String() || len(cert.Subject.Names) != 0 {
			t.Fatalf("issued %+v (%v)", cert, err)
		}
	})
}
