package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// plainClients runs test with a client that speaks plaintext, and servers of both kinds.
func plainClients(t *testing.T, test func(t *testing.T, client, server half, a, b *End)) {
	pairs(t, func(t *testing.T, client, server half, a, b *End) {
		if a.Secured() == nil {
			test(t, client, server, a, b)
		}
	})
}

func TestClientFirst(t *testing.T) {
	cases := map[string]struct {
		do   func(client, server half, cancel context.CancelFunc) error
		want bool
	}{
		"the client sends": {func(client, _ half, _ context.CancelFunc) error {
			_, err := io.WriteString(client, "hello")
			return err
		}, true},
		"the server sends": {func(_, server half, _ context.CancelFunc) error {
			_, err := io.WriteString(server, "hello")
			return err
		}, false},
		"the client ends":  {func(client, _ half, _ context.CancelFunc) error { return client.CloseWrite() }, false},
		"the server ends":  {func(_, server half, _ context.CancelFunc) error { return server.CloseWrite() }, false},
		"the context ends": {func(_, _ half, cancel context.CancelFunc) error { cancel(); return nil }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plainClients(t, func(t *testing.T, client, server half, a, b *End) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := make(chan bool, 1)
				go func() { got <- ClientFirst(ctx, a, b) }()
				if err := tc.do(client, server, cancel); err != nil {
					t.Fatal(err)
				}
				if got := <-got; got != tc.want {
					t.Errorf("got %t, want %t", got, tc.want)
				}
			})
		})
	}
}

// TestClientFirstLosesNothing relays after the wait, after which both have sent bytes.
func TestClientFirstLosesNothing(t *testing.T) {
	plainClients(t, func(t *testing.T, client, server half, a, b *End) {
		go func() { _, _ = io.WriteString(client, "hello"); _ = client.CloseWrite() }()
		go func() { _, _ = io.WriteString(server, "welcome"); _ = server.CloseWrite() }()
		ClientFirst(t.Context(), a, b)
		done := start(a, b)
		for side, tc := range map[half]string{client: "welcome", server: "hello"} {
			if got, err := io.ReadAll(side); err != nil || string(got) != tc {
				t.Errorf("got %q, %v, want %q", got, err, tc)
			}
		}
		if r := <-done; r.A != nil || r.B != nil {
			t.Errorf("ended with %v and %v", r.A, r.B)
		}
	})
}

// reset resets the connection of a side.
func reset(t *testing.T, h half) {
	t.Helper()
	c, ok := h.(*net.TCPConn)
	if !ok {
		c = h.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
	}
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestClientFirstHearsBoth begins when the client has sent bytes and the server did something too. Only bytes of the
// server mean that it speaks first: servers end idle connections at any time.
func TestClientFirstHearsBoth(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(server half) error
		want bool
	}{
		"the server sent": {func(server half) error {
			_, err := io.WriteString(server, "welcome")
			return err
		}, false},
		"the server ended": {func(server half) error {
			if c, ok := server.(interface{ NetConn() net.Conn }); ok {
				return c.NetConn().(*net.TCPConn).CloseWrite() // without the bytes that announce the end
			}
			return server.CloseWrite()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the two sides race
				plainClients(t, func(t *testing.T, client, server half, a, b *End) {
					_, err := io.WriteString(client, "hello")
					if err := errors.Join(err, tc.do(server)); err != nil {
						t.Fatal(err)
					}
					if err := a.reader().AwaitBytes(); err != nil {
						t.Fatal(err)
					}
					_ = b.reader().AwaitBytes() // bytes, or the end
					if got := ClientFirst(t.Context(), a, b); got != tc.want {
						t.Errorf("got %t, want %t", got, tc.want)
					}
				})
			}
		})
	}
}

// TestClientFirstKeepsAReset wants a reset during the wait to reach the other side as a reset.
func TestClientFirstKeepsAReset(t *testing.T) {
	for name, swap := range map[string]bool{"of the client": false, "of the server": true} {
		t.Run(name, func(t *testing.T) {
			plainClients(t, func(t *testing.T, client, server half, a, b *End) {
				broken, other := client, server
				if swap {
					broken, other = server, client
				}
				reset(t, broken)
				if ClientFirst(t.Context(), a, b) {
					t.Error("a reset is taken for bytes of the client")
				}
				done := start(a, b)
				if _, err := io.ReadAll(other); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the other side got %v, want a reset", err)
				}
				_ = other.Close()
				result := <-done
				got := result.A
				if swap {
					got = result.B
				}
				if got == nil {
					t.Error("the end is counted as orderly")
				}
			})
		})
	}
}
