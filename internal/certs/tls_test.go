package certs_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/tulle-mesh/tulle/internal/certs"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

var (
	web = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	api = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api.v2"}
)

// handshake connects the two configurations over a loopback socket and returns what each side says. A client of TLS 1.3 learns of its
// refusal at the first read.
func handshake(t *testing.T, server, client *tls.Config) (serverState, clientState tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := lis.Accept()
		if err != nil {
			serverErr = err
			return
		}
		conn := tls.Server(raw, server)
		defer conn.Close()
		if serverErr = conn.Handshake(); serverErr == nil {
			serverState = conn.ConnectionState()
			_, serverErr = conn.Write([]byte{1})
		}
	}()
	raw, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		clientState = conn.ConnectionState()
		_, clientErr = conn.Read(make([]byte, 1))
	}
	conn.Close()
	<-done
	return serverState, clientState, serverErr, clientErr
}

func TestBothSidesLearnWhoThePeerIs(t *testing.T) {
	ca := meshtest.NewCA(t)
	server, client, serverErr, clientErr := handshake(t,
		ca.Certs(api).ServerTLS(mesh.ALPNMux, mesh.ALPNRelay), ca.Certs(web).ClientTLS(api, mesh.ALPNRelay))
	if serverErr != nil || clientErr != nil {
		t.Fatalf("handshake: server %v, client %v", serverErr, clientErr)
	}
	if got, err := certs.PeerID(server); err != nil || got != web {
		t.Errorf("server sees %v (%v), want %v", got, err, web)
	}
	if got, err := certs.PeerID(client); err != nil || got != api {
		t.Errorf("client sees %v (%v), want %v", got, err, api)
	}
	if client.Version != tls.VersionTLS13 || client.CurveID != tls.X25519MLKEM768 || client.NegotiatedProtocol != mesh.ALPNRelay {
		t.Errorf("got version %x, curve %v, protocol %q", client.Version, client.CurveID, client.NegotiatedProtocol)
	}
}

