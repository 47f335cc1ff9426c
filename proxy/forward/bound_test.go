package forward

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
)

// numbered runs an application that says which of its connections served a request, and challenges as the path says.
func numbered(t *testing.T) string {
	return rawApp(t, func(n int, c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			status, challenge := 200, ""
			if v := req.URL.Query().Get("challenge"); v != "" {
				status, challenge = 401, "WWW-Authenticate: "+v+"\r\n"
			}
			said := fmt.Sprint(n)
			_, _ = fmt.Fprintf(
				c,
				"HTTP/1.1 %d OK\r\n%sContent-Length: %d\r\n\r\n%s",
				status,
				challenge,
				len(said),
				said,
			)
		}
	})
}

// NTLM and Negotiate authenticate a connection: another client's request on it would be served as the first client's.
func TestBoundConnectionServesOneClient(t *testing.T) {
	for name, c := range map[string]struct {
		target, fields string
		bound          bool
	}{
		"NTLM credentials":            {"/", "Authorization: NTLM TlRMTVNTUAAB\r\n", true},
		"Negotiate credentials":       {"/", "authorization: negotiate YII=\r\n", true},
		"credentials for a proxy":     {"/", "Proxy-Authorization: NTLM TlRMTVNTUAAB\r\n", true},
		"an NTLM challenge":           {"/?challenge=NTLM", "", true},
		"a Negotiate challenge":       {"/?challenge=Negotiate", "", true},
		"a challenge among others":    {"/?challenge=Basic+realm=a,+Negotiate", "", true},
		"a challenge with a token":    {"/?challenge=NTLM+TlRMTVNTUAAC", "", true},
		"a Basic challenge":           {"/?challenge=Basic", "", false},
		"Bearer credentials":          {"/", "Authorization: Bearer ntlm\r\n", false},
		"nothing of the kind":         {"/", "", false},
		"a scheme that begins alike":  {"/", "Authorization: NTLMx a\r\n", false},
		"the name in another context": {"/?negotiate", "X-Authorization: NTLM\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			h1Pairs(t, numbered(t), Config{}, func(t *testing.T, r *route) {
				first, fr := r.connect(t)
				second, sr := r.connect(t)
				ask := func(c net.Conn, br *bufio.Reader, target, fields string) string {
					send(t, c, "GET "+target+" HTTP/1.1\r\nHost: a\r\n"+fields+"\r\n")
					resp, err := http.ReadResponse(br, nil)
					return readBody(t, resp, err)
				}
				at := ask(first, fr, c.target, c.fields)
				if other := ask(second, sr, "/", ""); (other != at) != c.bound {
					t.Errorf(
						"the first client was served on connection %s, the second on %s; want bound %v",
						at,
						other,
						c.bound,
					)
				}
				if second := ask(first, fr, "/", ""); c.bound && r.first == r.last && second != at {
					t.Errorf("the client was served on connection %s, then on %s", at, second)
				}
				if other := ask(second, sr, "/", ""); c.bound && other == at {
					t.Errorf("the second client was served on the first one's connection %s", at)
				}
			})
		})
	}
}
