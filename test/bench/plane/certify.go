package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

// authority issues certificates by the bench's own certificate authority and the rules of package ca.
type authority struct {
	pb.UnimplementedIdentityServer
	issuer *ca.Issuer
	roots  []*x509.Certificate
	token  string
	client mesh.ID // whose the token is
}

func loadAuthority(f files, client mesh.ID) (*authority, error) {
	a := &authority{client: client}
	text := map[string][]byte{}
	for _, name := range []string{f.roots, f.issuer, f.issuerKey, f.token} {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("load authority: %w", err)
		}
		text[name] = data
	}
	a.token = string(text[f.token])
	var err error
	if a.roots, err = mesh.ParseRoots(text[f.roots]); err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	a.issuer, err = ca.Load(text[f.issuer], text[f.issuerKey], a.roots, ca.Profile{}, time.Now())
	return a, err
}

// Certify implements pb.IdentityServer. It asks no API server about the token: there is one pod, and one token.
func (a *authority) Certify(_ context.Context, r *pb.CertifyRequest) (*pb.CertifyResponse, error) {
	if r.GetToken() != a.token {
		return nil, status.Error(codes.Unauthenticated, "unknown token")
	}
	leaf, err := a.sign(r.GetCsr(), a.client)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answer := &pb.CertifyResponse{Chain: leaf.Chain, NotAfter: leaf.NotAfter.Unix()}
	for _, root := range a.roots {
		answer.TrustAnchors = append(answer.TrustAnchors, root.Raw)
	}
	return answer, nil
}

func (a *authority) sign(csr []byte, id mesh.ID) (*ca.Leaf, error) {
	token, err := a.issuer.Prepare(csr, id, time.Now())
	if err != nil {
		return nil, err
	}
	return a.issuer.Issue(token)
}

// issue makes the certificate of a part of the control plane.
func (a *authority) issue(id mesh.ID) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue certificate of %s: %w", id, err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URI()}}, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue certificate of %s: %w", id, err)
	}
	leaf, err := a.sign(csr, id)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue certificate of %s: %w", id, err)
	}
	return tls.Certificate{Certificate: leaf.Chain, PrivateKey: key}, nil
}
