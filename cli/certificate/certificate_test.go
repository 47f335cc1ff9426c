package certificate

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestPresented asks a peer over TLS for its certificate, and prints it.
func TestPresented(t *testing.T) {
	id := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	config := meshtest.NewCA(t).Certs(id).ServerTLS(mesh.ALPNMux)
	done := make(chan struct{})
	cl := &cluster.Client{DialPod: func(context.Context, string, string, int) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer close(done)
			_ = tls.Server(far, config).HandshakeContext(t.Context())
			_ = far.Close()
		}()
		return near, nil
	}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer}}}}
	chain, err := Presented(t.Context(), cl, pod)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	var text strings.Builder
	Write(&text, chain[0])
	for _, want := range []string{"URI:spiffe://cluster.local/ns/shop/sa/web", "ECDSA P-256", "CA:FALSE"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestPresentedSaysWhyNot(t *testing.T) {
	refused := errors.New("refused")
	cl := &cluster.Client{DialPod: func(context.Context, string, string, int) (net.Conn, error) { return nil, refused }}
	if _, err := Presented(t.Context(), cl, &corev1.Pod{}); err == nil ||
		!strings.Contains(err.Error(), "it has no proxy") {
		t.Errorf("error %v, want that there is no proxy", err)
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer}}}}
	if _, err := Presented(t.Context(), cl, pod); !errors.Is(err, refused) {
		t.Errorf("error %v, want %v", err, refused)
	}
}
