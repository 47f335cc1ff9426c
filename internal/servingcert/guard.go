package servingcert

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// maxSkew is how far this process's clock may be from the API server's for it to write.
	maxSkew = backdate
	// replaceEvery is the shortest time between two replacements of everything by one process.
	replaceEvery = 10 * time.Minute
)

// immutable returns the remedy for a Secret that nobody can renew, or "".
func immutable(secret *corev1.Secret) string {
	if secret.Immutable == nil || !*secret.Immutable {
		return ""
	}
	return fmt.Sprintf("Secret %s/%s is immutable, so its certificate cannot be renewed: "+
		"kubectl delete secret -n %s %s", secret.Namespace, secret.Name,
		secret.Namespace, secret.Name)
}

// mayWrite returns why this process may not write credentials in place of current, which is nil if they are unusable.
func (m *Manager) mayWrite(ctx context.Context, secret *corev1.Secret, current *credentials, now time.Time) error {
	if remedy := immutable(secret); remedy != "" {
		return errors.New(remedy)
	}
	server, err := m.serverTime(ctx)
	if err != nil {
		return fmt.Errorf("ask the API server for its time: %w", err)
	}
	if skew := now.Sub(server).Abs(); !server.IsZero() && skew > maxSkew {
		return fmt.Errorf("this node's clock is %s and the API server's is %s: the certificate is not renewed until they "+
			"agree within %s", now.UTC().Format(time.RFC3339), server.UTC().Format(time.RFC3339), maxSkew)
	}
	if current != nil && current.check(m.DNSName(), now) == nil {
		return nil
	}
	if since := now.Sub(m.replaced); !m.replaced.IsZero() && since >= 0 && since < replaceEvery {
		return fmt.Errorf("all credentials were replaced %s ago, and are unusable again: the next replacement is after %s",
			since.Round(time.Second), replaceEvery)
	}
	m.replaced = now
	return nil
}

// timeOf returns the API server's time, which the header Date of any response tells. It is zero if none does.
func timeOf(ctx context.Context, client kubernetes.Interface) (time.Time, error) {
	api, ok := client.CoreV1().RESTClient().(*rest.RESTClient)
	if !ok || api == nil || api.Client == nil {
		return time.Time{}, nil // not a client of an API server
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.Get().AbsPath("/version").URL().String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := api.Client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, nil // a proxy may remove the header
	}
	return date, nil
}
