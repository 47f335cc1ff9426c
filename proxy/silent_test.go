package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestALateRequestIsHTTP keeps connections in reserve until detection is over, as Go's http.Transport and browsers do,
// and then sends requests. They are requests to the proxy: counted, and without what only a proxy may say.
func TestALateRequestIsHTTP(t *testing.T) {
	t.Parallel()
	app := record(t)
	client, server := startImpatientPair(t, app.addr, mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, detectSoon)
	meshed, plain := client.Addresses().Local.Outbound[0].String(), server.Addresses().Local.Inbound[0].String()
	const request = "GET /late HTTP/1.1\r\nHost: a\r\n" + forged + "\r\n"
	for from, tc := range map[string]struct {
		addr      string
		proxy     *Proxy
		direction string
	}{
		"meshed": {meshed, client, `direction="outbound"`}, "plain": {plain, server, `tls="no_identity"`},
	} {
		t.Run(from, func(t *testing.T) {
			c := dial(t, tc.addr)
			expectSilence(t, c)
			r := bufio.NewReader(c)
			for range 2 {
				if _, err := io.WriteString(c, request); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("got %v, %v, want 200", res, err)
				}
			}
			if got := sum(t, tc.proxy, "request_total", tc.direction); got != 2 {
				t.Errorf("%g requests are counted, want 2", got)
			}
			if got := sum(t, tc.proxy, "tcp_open_total", tc.direction, `peer="src"`); got != 1 {
				t.Errorf("%g connections of clients are counted, want 1", got)
			}
			if got := sum(t, tc.proxy, "tcp_open_connections", tc.direction, `peer="src"`); got != 1 {
				t.Errorf("%g connections of clients are open, want 1", got)
			}
		})
	}
	if got := app.text(); strings.Contains(got, "forged") {
		t.Errorf("the application read a name that a client made up:\n%s", got)
	}
	// The connections that were made while the clients were silent have ended as others end.
	meshtest.Await(t, "the connections of the silent seconds are closed", func() bool {
		return sum(t, server, "tcp_close_total", `peer="src"`, `tls="true"`) == 1
	})
	for _, p := range []*Proxy{client, server} {
		if got := sum(t, p, "tcp_close_total", `errno="`); got != 0 {
			t.Errorf("%g connections are counted as broken, want 0", got)
		}
	}
}

// TestALateClientOfAnotherProtocol is silent until detection is over. Then the server greets, or the client sends bytes
// of another protocol, or it ends. What looks like a request after a greeting is none.
func TestALateClientOfAnotherProtocol(t *testing.T) {
	t.Parallel()
	const line = "GET / HTTP/1.1\r\n\r\n"
	greet := listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "220 ready\r\n"+strings.Repeat("x", 100))
		echo(c)
	})
	greetLate := listen(t, func(c *net.TCPConn) {
		time.AfterFunc(patience, func() { _, _ = io.WriteString(c, "220 ready\r\n"+strings.Repeat("x", 100)) })
		echo(c)
	})
	cases := map[string]struct {
		app   string
		greet string
		sent  string
	}{
		"the server greets":      {greet, "220 ready\r\n" + strings.Repeat("x", 100), line},
		"the server greets late": {greetLate, "220 ready\r\n" + strings.Repeat("x", 100), line},
		"the client sends bytes": {listen(t, echo), "", "PING\r\n"},
		"the client sends TLS":   {listen(t, echo), "", "\x16\x03\x01\x00\x05hello"},
		"the client ends":        {listen(t, echo), "", ""},
	}
	for name, tc := range cases {
		meshed, plain := startImpatient(t, tc.app, mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, detectSoon)
		for from, addr := range map[string]string{"meshed": meshed, "plain": plain} {
			t.Run(name+", "+from, func(t *testing.T) {
				t.Parallel()
				c := dial(t, addr)
				if tc.greet == "" {
					expectSilence(t, c)
				}
				greeting := make([]byte, len(tc.greet))
				if _, err := io.ReadFull(c, greeting); err != nil || string(greeting) != tc.greet {
					t.Fatalf("got the greeting %q, %v", greeting, err)
				}
				if _, err := io.WriteString(c, tc.sent); err != nil {
					t.Fatal(err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(c); err != nil || string(got) != tc.sent {
					t.Errorf("got %q, %v, want %q", got, err, tc.sent)
				}
			})
		}
	}
}

// TestALateBrokenClient resets its connection after a silence and a part of a request line. The application must not
// take what it got for all.
func TestALateBrokenClient(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	app := listen(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	_, plain := startImpatient(t, app, mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, detectSoon)
	for _, sent := range []string{"", "GE", "\x16\x03"} {
		c := dial(t, plain)
		expectSilence(t, c)
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: the application got %v, want a reset", sent, err)
		}
	}
}
