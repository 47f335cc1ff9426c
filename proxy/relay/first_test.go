package relay

import (
	"context"
	"io"
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
				go func() { got <- ClientFirst(ctx, a.socket(), b) }()
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
		ClientFirst(t.Context(), a.socket(), b)
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
