package strict

import (
	"fmt"
	"testing"
)

// TestCORS asks as a browser does, for a page of an origin that is allowed and for one of another.
func TestCORS(t *testing.T) {
	apply(t, httpRoute("cors", "", `
  - filters:
    - type: CORS
      cors: {allowOrigins: ["https://*.example.org"], allowMethods: [PUT], allowHeaders: [x-a], exposeHeaders: [x-b], allowCredentials: true, maxAge: 60}
    backendRefs: [{name: echo-v2, port: 80}]`))
	const page, other = "Origin: https://page.example.org", "Origin: https://example.com"
	const ask, askHeader = "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a"
	eventually(t, func() error {
		return check([]exchange{{request{url: "http://echo/", method: "OPTIONS", headers: []string{page, ask}}, answer{status: 204}}})
	})
	for name, c := range map[string]struct {
		request request
		status  int
		want    map[string]string // of the response's headers; "" is none
	}{
		"a preflight is answered by the proxy": {
			request{method: "OPTIONS", headers: []string{page, ask, askHeader}}, 204, map[string]string{
				"access-control-allow-origin": "https://page.example.org", "access-control-allow-methods": "PUT", "access-control-allow-headers": "x-a",
				"access-control-allow-credentials": "true", "access-control-max-age": "60",
			},
		},
		"a preflight of another origin is refused": {
			request{method: "OPTIONS", headers: []string{other, ask}}, 403, map[string]string{"access-control-allow-origin": ""},
		},
		"a response is marked": {
			request{headers: []string{page}}, 200, map[string]string{
				"access-control-allow-origin": "https://page.example.org", "access-control-expose-headers": "x-b", "access-control-allow-credentials": "true",
			},
		},
		"a response to another origin is not": {request{headers: []string{other}}, 200,
			map[string]string{"access-control-allow-origin": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.from, c.request.url = "echo-v1", "http://echo/"
			eventually(t, func() error {
				got, err := send(c.request)
				if err == nil && got[0].status != c.status {
					err = fmt.Errorf("got status %d, want %d", got[0].status, c.status)
				}
				for header, want := range c.want {
					if err == nil && got[0].headers[header] != want {
						err = fmt.Errorf("%s is %q, want %q", header, got[0].headers[header], want)
					}
				}
				return err
			})
		})
	}
}
