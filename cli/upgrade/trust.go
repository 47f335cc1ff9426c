package upgrade

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// arrival is how long a changed bundle may take to its pods: the kubelet refreshes mounted ConfigMaps every minute,
// from a cache of at most another one.
const arrival = 3 * time.Minute

// waysOut ends a refusal.
const waysOut = `see docs/install.md, "Your own certificates"`

// checkTrust returns an error if the running proxies would not trust certificates of the plan's issuer, or would lose
// the trust of others because the plan's anchors lack the anchor of the issuer in the cluster.
func checkTrust(ctx context.Context, cl *cluster.Client, plan *installation.Plan, proxies []corev1.Pod,
	control string) error {
	issuer := plan.Values.Identity.Issuer.TLS.CrtPEM
	anchors := plan.Values.IdentityTrustAnchorsPEM
	if plan.Values.Identity.ExternalCA {
		anchors = "" // the manifests do not have them
	}
	if len(proxies) == 0 || issuer == "" && anchors == "" {
		return nil
	}
	present, err := issuerInCluster(ctx, cl, control)
	if err != nil {
		return err
	}
	var errs []error
	if issuer != "" && !sameCertificates(issuer, present) {
		errs = append(errs, checkIssuer(ctx, cl, issuer, proxies))
	}
	if anchors != "" && present != "" {
		errs = append(errs, checkAnchors(ctx, cl, anchors, present, len(proxies), control))
	}
	return errors.Join(errs...)
}

// issuerInCluster returns the certificates of the issuer's Secret, or "" if there is none.
func issuerInCluster(ctx context.Context, cl *cluster.Client, control string) (string, error) {
	secret, err := cl.CoreV1().Secrets(control).Get(ctx, mesh.IssuerSecret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("compare with the issuer in the cluster: %w", err)
	}
	return installation.IssuerOf(secret).CrtPEM, nil
}

func sameCertificates(a, b string) bool {
	left, _, errLeft := install.ParseCertificates(a)
	right, _, errRight := install.ParseCertificates(b)
	return errLeft == nil && errRight == nil && slices.EqualFunc(left, right, (*x509.Certificate).Equal)
}

// checkIssuer compares a new issuer with the bundle of each namespace that has proxies.
func checkIssuer(ctx context.Context, cl *cluster.Client, issuer string, proxies []corev1.Pod) error {
	count := map[string]int{}
	for i := range proxies {
		count[proxies[i].Namespace]++
	}
	var untrusted, fresh []string
	pods := 0
	for namespace, n := range count {
		bundle, err := cl.CoreV1().ConfigMaps(namespace).Get(ctx, mesh.TrustRootsConfigMap, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read the trust anchors of namespace %s: %w", namespace, err)
		}
		switch age := sinceChange(bundle); {
		case verify(issuer, bundle.Data[mesh.TrustRootsKey]) != nil:
			untrusted = append(untrusted, namespace)
			pods += n
		case age < arrival:
			fresh = append(fresh, fmt.Sprintf("%s (%v ago)", namespace, age.Round(time.Second)))
		}
	}
	slices.Sort(untrusted)
	slices.Sort(fresh)
	switch {
	case untrusted != nil:
		return fmt.Errorf("%d running proxies do not have the anchor of the new issuer, and would reject its certificates "+
			"(namespaces %s): add the anchor to the bundle first, and wait %v; %s", pods, cluster.Abbreviate(untrusted),
			arrival, waysOut)
	case fresh != nil:
		return fmt.Errorf("the trust anchors have just changed in namespaces %s: pods get them within %v; wait, and "+
			"run this again", cluster.Abbreviate(fresh), arrival)
	}
	return nil
}

// sinceChange returns how long ago the data of an object was written last.
func sinceChange(o metav1.Object) time.Duration {
	last := o.GetCreationTimestamp().Time
	for _, f := range o.GetManagedFields() {
		if f.Time != nil && f.Time.After(last) && f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), "f:data") {
			last = f.Time.Time
		}
	}
	return time.Since(last)
}

// checkAnchors verifies the issuer in the cluster with the new anchors. The identity controller keeps the newest anchor
// that it made in the bundle, so that one counts too.
func checkAnchors(ctx context.Context, cl *cluster.Client, anchors, present string, pods int, control string) error {
	if verify(present, anchors) == nil {
		return nil
	}
	made, err := cl.CoreV1().Secrets(control).Get(ctx, mesh.AnchorSecret, metav1.GetOptions{})
	switch {
	case err == nil:
		if verify(present, anchors+"\n"+installation.IssuerOf(made).CrtPEM) == nil {
			return nil
		}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("compare with the anchor in the cluster: %w", err)
	}
	return fmt.Errorf("the new trust anchors lack the anchor of the issuer in the cluster: the certificates of %d "+
		"running proxies would be rejected until they are renewed: give a file with both anchors; %s", pods, waysOut)
}

// verify returns an error unless the first of the certificates chains to one of the anchors.
func verify(chain, anchors string) error {
	certs, _, err := install.ParseCertificates(chain)
	if err != nil {
		return err
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(anchors))
	for _, c := range certs[1:] {
		intermediates.AddCert(c)
	}
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
