package tapapi

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// FrontProxy holds the settings of the API server's aggregation layer: its client certificate, and the headers in which
// it names the user. Source: Kubernetes, "Configure the Aggregation Layer", ConfigMap
// kube-system/extension-apiserver-authentication.
type FrontProxy struct {
	roots *x509.CertPool
	// names are the accepted common names of its certificate; none accepts any.
	names []string
	// userHeaders and groupHeaders name the headers with the user's name and groups; extraPrefixes begin those of others.
	userHeaders, groupHeaders, extraPrefixes []string
}

// ParseFrontProxy reads the data of the ConfigMap. It returns an error if the CA or the names of headers are missing.
func ParseFrontProxy(data map[string]string) (*FrontProxy, error) {
	f := &FrontProxy{roots: x509.NewCertPool()}
	if !f.roots.AppendCertsFromPEM([]byte(data["requestheader-client-ca-file"])) {
		return nil, errors.New("read requestheader-client-ca-file: no certificate; is the aggregation layer configured?")
	}
	for key, list := range map[string]*[]string{
		"requestheader-allowed-names": &f.names, "requestheader-username-headers": &f.userHeaders,
		"requestheader-group-headers": &f.groupHeaders, "requestheader-extra-headers-prefix": &f.extraPrefixes,
	} {
		if data[key] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(data[key]), list); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
	}
	if len(f.userHeaders) == 0 {
		return nil, errors.New("read requestheader-username-headers: is missing")
	}
	return f, nil
}

// user is the user who sends a request.
type user struct {
	name   string
	groups []string
	extra  map[string]authorizationv1.ExtraValue
}

// quoted returns the name for a log.
func (u *user) quoted() string { return fmt.Sprintf("%.256q", u.name) }

// spec returns the part of a review that names the user.
func (u *user) spec() authorizationv1.SubjectAccessReviewSpec {
	return authorizationv1.SubjectAccessReviewSpec{User: u.name, Groups: u.groups, Extra: u.extra}
}

// authenticate returns the user whose request the API server passes on. Headers of anybody else mean nothing.
func (f *FrontProxy) authenticate(r *http.Request) (*user, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, errors.New("requests come through the Kubernetes API server only: there is no client certificate")
	}
	chain := r.TLS.PeerCertificates
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{
		Roots: f.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return nil, errors.New("requests come through the Kubernetes API server only: the certificate is not its own")
	}
	if name := chain[0].Subject.CommonName; len(f.names) > 0 && !slices.Contains(f.names, name) {
		return nil, fmt.Errorf("requests come through the Kubernetes API server only: %q is not its name", name)
	}
	u := &user{extra: map[string]authorizationv1.ExtraValue{}}
	for _, h := range f.userHeaders {
		if u.name == "" {
			u.name = r.Header.Get(h)
		}
	}
	if u.name == "" {
		return nil, errors.New("the request names no user")
	}
	for _, h := range f.groupHeaders {
		u.groups = append(u.groups, r.Header.Values(h)...)
	}
	for _, prefix := range f.extraPrefixes {
		for name, values := range r.Header {
			if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
				continue
			}
			key := strings.ToLower(name[len(prefix):])
			if plain, err := url.PathUnescape(key); err == nil {
				key = plain
			}
			u.extra[key] = append(u.extra[key], values...)
		}
	}
	return u, nil
}
