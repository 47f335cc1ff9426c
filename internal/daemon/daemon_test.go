package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestOneAddressCannotTakeEveryAdminConnection checks that the kubelet, at another address, can still probe.
func TestOneAddressCannotTakeEveryAdminConnection(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	started, end, done := make(chan *Env, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(Config{Name: "test", AdminAddr: addr, LogLevel: "error"}, func(_ context.Context, env *Env) error {
			started <- env
			<-end
			return nil
		})
	}()
	var env *Env
	select {
	case env = <-started:
	case err := <-done:
		t.Fatal(err)
	}
	defer func() {
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	dialer := func(local string) *net.Dialer { return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}} }
	dial := func() net.Conn {
		t.Helper()
		conn, err := dialer("127.0.0.2").Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second)) // earlier than the end of the wait for a request
		return conn
	}
	first := dial()
	for range adminConnections.PerAddress {
		dial()
	}
	if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the oldest connection of the address did not make room")
	}
	families, err := env.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var refused float64
	for _, f := range families {
		if f.GetName() == "tulle_admin_connections_refused_total" {
			refused = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if refused != 1 {
		t.Errorf("counted %v refusals, want 1", refused)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer("127.0.0.3").DialContext,
		DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/live", addr))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("another address: %v, %v", resp, err)
	}
	resp.Body.Close()
}
