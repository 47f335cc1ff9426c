package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tulle-mesh/tulle/viz/board"
)

// send sends a request with the browser's cookies. change changes it.
func (b *bed) send(method, path, body string, change ...func(*http.Request)) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.host+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	client := *b.browser
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		b.t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(text)))
	return resp
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// TestHostsOfOthers: a name that somebody else made to mean this address (DNS rebinding) reaches nothing, not even with
// the cookie or the token.
func TestHostsOfOthers(t *testing.T) {
	b := start(t)
	b.logIn()
	_, port, err := net.SplitHostPort(b.host)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		b.host:                              http.StatusOK,
		"localhost:" + port:                 http.StatusOK,
		"LOCALHOST:" + port:                 http.StatusOK,
		"[::1]:" + port:                     http.StatusOK,
		"evil.test":                         http.StatusForbidden,
		"evil.test:" + port:                 http.StatusForbidden,
		"localhost":                         http.StatusForbidden,
		"localhost:1":                       http.StatusForbidden,
		"localhost.:" + port:                http.StatusForbidden,
		"localhost.evil.test:" + port:       http.StatusForbidden,
		"127.0.0.1.evil.test:" + port:       http.StatusForbidden,
		"evil.test@127.0.0.1:" + port:       http.StatusForbidden,
		"127.0.0.2:" + port:                 http.StatusForbidden,
		"0.0.0.0:" + port:                   http.StatusForbidden,
		"[::ffff:127.0.0.1]:" + port:        http.StatusForbidden,
		"2130706433:" + port:                http.StatusForbidden,
		"tulle-dashboard.localhost:" + port: http.StatusForbidden,
	} {
		for _, path := range []string{"/", "/api/config", "/assets/index.js", "/?token=" + b.Token()} {
			got := b.send(http.MethodGet, path, "", func(r *http.Request) {
				r.Host = host // the browser's jar has no cookie for it
				r.AddCookie(&http.Cookie{Name: "tulle-dashboard-" + port, Value: b.session.cookie})
			})
			ok := got.StatusCode == want || want == http.StatusOK && got.StatusCode == http.StatusSeeOther
			if !ok || got.StatusCode != http.StatusSeeOther && len(got.Cookies()) > 0 {
				t.Errorf("host %s, %s: status %d, want %d; cookies %v", host, path, got.StatusCode, want, got.Cookies())
			}
		}
	}
}

// TestOtherPagesReachNoAPI: a page of another origin, another port of the same host among them, is refused, whichever
// header tells where it is from.
func TestOtherPagesReachNoAPI(t *testing.T) {
	b := start(t)
	b.logIn()
	own := "http://" + b.host
	for name, c := range map[string]struct {
		origin, site string
		get, post    int
	}{
		"the dashboard":                    {own, "same-origin", 200, 400},
		"the dashboard, without an origin": {"", "same-origin", 200, 400},
		"another program":                  {"", "", 200, 400},
		"an address that is typed":         {"", "none", 200, 403},
		"another origin":                   {"http://evil.test", "cross-site", 403, 403},
		"an origin alone":                  {"http://evil.test", "", 403, 403},
		"another port":                     {"http://127.0.0.1:1", "same-site", 403, 403},
		"another port, without an origin":  {"", "same-site", 403, 403},
		"a link of another page":           {"", "cross-site", 403, 403},
		"a page without an origin":         {"null", "cross-site", 403, 403},
		"an origin that begins alike":      {own + ".evil.test", "", 403, 403},
		"the other scheme":                 {"https://" + b.host, "", 403, 403},
		"a lie in one header":              {"http://evil.test", "same-origin", 403, 403},
	} {
		t.Run(name, func(t *testing.T) {
			from := func(r *http.Request) {
				if c.origin != "" {
					r.Header.Set("Origin", c.origin)
				}
				if c.site != "" {
					r.Header.Set("Sec-Fetch-Site", c.site)
				}
			}
			for _, path := range []string{"/api/config", "/api/page?page=overview"} {
				if got := b.send(http.MethodGet, path, "", from); got.StatusCode != c.get {
					t.Errorf("GET %s: status %d, want %d", path, got.StatusCode, c.get)
				}
			}
			got := b.send(http.MethodPost, "/api/tap", "{}", from, header("Content-Type", "application/json"))
			if got.StatusCode != c.post {
				t.Errorf("POST: status %d, want %d", got.StatusCode, c.post)
			}
		})
	}
}

// TestPostNeedsJSON: a form cannot send that type, and a script of another origin not without leave, which nobody gets.
func TestPostNeedsJSON(t *testing.T) {
	b := start(t)
	b.logIn()
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
		"text/plain; application/json"} {
		got := b.send(http.MethodPost, "/api/tap", "{}", header("Content-Type", media))
		if got.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("content type %q: status %d", media, got.StatusCode)
		}
	}
	preflight := b.send(http.MethodOptions, "/api/tap", "", header("Origin", "http://evil.test"),
		header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "content-type"))
	for name := range preflight.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the answer to a preflight has %s", name)
		}
	}
	if preflight.StatusCode < 400 {
		t.Errorf("preflight: status %d", preflight.StatusCode)
	}
}

// TestHeadersOfEveryAnswer: what no answer may be without, whether it is a page, a file, data or a refusal.
func TestHeadersOfEveryAnswer(t *testing.T) {
	b := start(t)
	answers := map[string]*http.Response{"no session": b.send(http.MethodGet, "/", ""),
		"no session, data": b.send(http.MethodGet, "/api/config", "")}
	b.logIn()
	for _, path := range []string{"/", "/topology", "/assets/none.js", "/api/config", "/api/none", "/api/page?page=none",
		"/api/page?page=overview", "/api/page?page=panics", "/?token=" + b.Token(), "/?token=wrong", "/favicon.svg"} {
		answers[path] = b.send(http.MethodGet, path, "")
	}
	answers["another host"] = b.send(http.MethodGet, "/", "", func(r *http.Request) { r.Host = "evil.test" })
	want := map[string]string{"Content-Security-Policy": contentSecurityPolicy, "X-Frame-Options": "DENY",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}
	for name, resp := range answers {
		for key, want := range want {
			if got := resp.Header.Get(key); got != want && !(key == "Cache-Control" && got == "no-cache") {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		for key := range resp.Header {
			if strings.HasPrefix(key, "Access-Control-") {
				t.Errorf("%s: there is %s", name, key)
			}
		}
	}
	for _, strict := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "form-action 'none'",
		"frame-ancestors 'none'"} {
		if !slices.Contains(strings.Split(contentSecurityPolicy, "; "), strict) {
			t.Errorf("the policy lacks %q", strict)
		}
	}
	for _, loose := range []string{"unsafe", "*", "http:", "https:", "data:", "blob:"} {
		if strings.Contains(contentSecurityPolicy, loose) {
			t.Errorf("the policy has %q", loose)
		}
	}
}

// TestSession: only an address with the token begins it, and only its cookie holds it.
func TestSession(t *testing.T) {
	b := start(t)
	for _, path := range []string{"/", "/topology", "/assets/index.js", "/api/config", "/api/page?page=overview",
		"/api/stream?page=overview", "/?token=", "/?token=wrong", "/api/config?token=" + b.Token()} {
		got := b.send(http.MethodGet, path, "")
		if got.StatusCode != http.StatusUnauthorized || len(got.Cookies()) > 0 {
			t.Errorf("%s without a session: status %d, cookies %v", path, got.StatusCode, got.Cookies())
		}
	}
	first := b.send(http.MethodGet, "/topology?namespace=shop&token="+b.Token(), "")
	if to := first.Header.Get("Location"); first.StatusCode != http.StatusSeeOther || to != "/topology?namespace=shop" {
		t.Errorf("the first address: status %d, to %q", first.StatusCode, to)
	}
	cookies := first.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	c := cookies[0]
	_, port, _ := net.SplitHostPort(b.host)
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" || c.MaxAge != 0 || !c.Expires.IsZero() ||
		c.Name != "tulle-dashboard-"+port || c.Value == b.Token() || len(c.Value) < 20 {
		t.Errorf("cookie %v", c)
	}
	if got := b.send(http.MethodGet, "/api/config", ""); got.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: status %d", got.StatusCode)
	}
	other := start(t)
	other.browser.Jar = b.browser.Jar
	if got := other.send(http.MethodGet, "/api/config", ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("another server with the same cookies: status %d", got.StatusCode)
	}
	if got := b.send(http.MethodPost, "/?token="+b.Token(), "{}", header("Content-Type", "application/json")); got.
		StatusCode != http.StatusUnauthorized {
		t.Errorf("a token in a POST: status %d", got.StatusCode)
	}
}

// TestFirstAddressLeadsNowhereElse: what is behind the token in an address cannot lead to another host.
func TestFirstAddressLeadsNowhereElse(t *testing.T) {
	b := start(t)
	for _, path := range []string{"//evil.test/", "///evil.test", "/%2Fevil.test", "/\\evil.test", "//evil.test/%2e%2e"} {
		got := b.send(http.MethodGet, path+"?token="+b.Token(), "")
		to, err := got.Location()
		if err != nil || to.Host != b.host || strings.HasPrefix(got.Header.Get("Location"), "//") {
			t.Errorf("%s: status %d, to %v, error %v", path, got.StatusCode, to, err)
		}
	}
}

// TestOneTimeToken: the token of the address in a browser's arguments is of no use to those who read it later, and
// somebody who was faster than the browser loses the session when the browser comes.
func TestOneTimeToken(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	b := start(t, func(c *Config) { c.Log = zap.New(core) })
	once := b.OneTimeToken()
	if got := b.send(http.MethodGet, "/?token="+once, ""); got.StatusCode != http.StatusSeeOther {
		t.Fatalf("first use: status %d", got.StatusCode)
	}
	if got := b.send(http.MethodGet, "/api/config", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the session: status %d", got.StatusCode)
	}
	stream, status, _ := b.stream("page=overview")
	if status != http.StatusOK || !stream.Scan() {
		t.Fatalf("a stream of the session: status %d", status)
	}
	if got := b.send(http.MethodGet, "/?token="+once, ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("second use: status %d", got.StatusCode)
	}
	for stream.Scan() { // it ends
	}
	if got := b.send(http.MethodGet, "/api/config", ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the session after the second use: status %d", got.StatusCode)
	}
	if found := lines.FilterMessageSnippet("opened twice").Len(); found != 1 {
		t.Errorf("%d lines say so", found)
	}
	if got := b.send(http.MethodGet, "/?token="+b.Token(), ""); got.StatusCode != http.StatusSeeOther {
		t.Errorf("the printed token: status %d", got.StatusCode)
	}
	if got := b.send(http.MethodGet, "/?token="+once, ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("third use: status %d", got.StatusCode)
	}
	if got := b.send(http.MethodGet, "/api/config", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the session of the printed token after a third use: status %d", got.StatusCode)
	}
}

// TestOneTimeTokenEnds: an address that no browser opened does not wait for somebody else.
func TestOneTimeTokenEnds(t *testing.T) {
	b := start(t)
	once := b.OneTimeToken()
	b.session.oneTimeTokens[0].until = time.Now().Add(-time.Second)
	if got := b.send(http.MethodGet, "/?token="+once, ""); got.StatusCode != http.StatusUnauthorized ||
		len(got.Cookies()) > 0 {
		t.Errorf("status %d, cookies %v", got.StatusCode, got.Cookies())
	}
}

// TestOneTimeTokenWorksForOne: of many browsers that come at once with the same token, one at most has a session then.
func TestOneTimeTokenWorksForOne(t *testing.T) {
	b := start(t)
	once := b.OneTimeToken()
	opened := make(chan *http.Response, 20)
	for range cap(opened) {
		go func() { opened <- b.send(http.MethodGet, "/?token="+once, "") }()
	}
	began := 0
	for range cap(opened) {
		if got := <-opened; got.StatusCode == http.StatusSeeOther {
			began++
		}
	}
	if got := b.send(http.MethodGet, "/api/config", ""); began != 1 || got.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d sessions began; afterwards status %d", began, got.StatusCode)
	}
}

// TestTokenIsNowhere: neither the log nor an answer has the token or the cookie.
func TestTokenIsNowhere(t *testing.T) {
	core, lines := observer.New(zap.DebugLevel)
	b := start(t, func(c *Config) { c.Log = zap.New(core) })
	secrets := []string{b.Token(), b.session.cookie}
	leaks := func(where, text string) {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has a secret: %s", where, text)
			}
		}
	}
	b.logIn()
	for _, path := range []string{"/?token=" + b.Token(), "/", "/api/config", "/api/page?page=overview",
		"/api/page?page=panics", "/api/page?page=none", "/?token=" + b.Token() + "x"} {
		resp := b.send(http.MethodGet, path, "")
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		leaks(path, string(body)+resp.Header.Get("Location"))
	}
	if lines.Len() == 0 {
		t.Error("the panic is not in the log")
	}
	for _, line := range lines.All() {
		for _, field := range line.Context {
			leaks("the log", line.Message+field.String)
		}
	}
}

// TestPanicsAreSaid: one page that panics is a refusal, and the server goes on.
func TestPanicsAreSaid(t *testing.T) {
	b := start(t, func(c *Config) { c.AppConfig = func(context.Context) AppConfig { panic("a bug") } })
	b.logIn()
	for path, want := range map[string]int{"/api/page?page=panics": http.StatusBadGateway,
		"/api/config": http.StatusInternalServerError, "/api/page?page=overview": http.StatusOK} {
		status, body := b.get(path)
		if status != want || want != http.StatusOK && !strings.Contains(body, board.Unavailable) {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, body)
		}
	}
}

// TestRequestsAreBounded: heads and bodies beyond the bounds are refused.
func TestRequestsAreBounded(t *testing.T) {
	b := start(t)
	b.logIn()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("a", 2*maxHeaders))
	resp, err := b.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // the server cut it off
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long head: status %d", resp.StatusCode)
	}
	body := `{"path":"` + strings.Repeat("a", maxTapBody) + `"}`
	got := b.send(http.MethodPost, "/api/tap", body, header("Content-Type", "application/json"))
	if text, err := io.ReadAll(got.Body); err != nil || got.StatusCode != http.StatusBadRequest ||
		!strings.Contains(string(text), "too large") {
		t.Errorf("a long body: status %d, error %v: %s", got.StatusCode, err, text)
	}
}

// TestHeadsAreNotWaitedFor: a client that sends half a head loses its connection.
func TestHeadsAreNotWaitedFor(t *testing.T) {
	b := start(t)
	conn, err := net.Dial("tcp", b.host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil { // returns when the server has closed it
		t.Error(err)
	}
}

// TestRequestsThatNoBrowserSends: a request line or a header of another form gets past no check.
func TestRequestsThatNoBrowserSends(t *testing.T) {
	b := start(t)
	_, port, err := net.SplitHostPort(b.host)
	if err != nil {
		t.Fatal(err)
	}
	cookie, host := fmt.Sprintf("Cookie: tulle-dashboard-%s=%s", port, b.session.cookie), "Host: "+b.host
	const (
		evil  = "Origin: http://evil.test"
		get   = "GET /api/config HTTP/1.1"
		empty = "Content-Length: 0"
		json  = "Content-Type: application/json"
	)
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"HTTP/1.0":                {[]string{"GET /api/config HTTP/1.0", host}, 200},
		"HTTP/1.0 without a host": {[]string{"GET /api/config HTTP/1.0"}, 403},
		"no host":                 {[]string{get}, 400},
		"an empty host":           {[]string{get, "Host:"}, 403},
		"two hosts":               {[]string{get, host, "Host: evil.test"}, 400},
		"a host in two lines":     {[]string{get, "Host: evil.test", " " + b.host}, 400},
		"a dot after the host":    {[]string{get, host + "."}, 403},
		"the address of another":  {[]string{"GET http://evil.test/api/config HTTP/1.1", host}, 403},
		"the own address":         {[]string{"GET http://" + b.host + "/api/config HTTP/1.1", "Host: evil.test"}, 200},
		"a tunnel":                {[]string{"CONNECT /api/config HTTP/1.1", host}, 405},
		"a trace":                 {[]string{"TRACE /api/config HTTP/1.1", host}, 405},
		"two slashes":             {[]string{"GET //api/config HTTP/1.1", host, evil}, 307},
		"a path with dots":        {[]string{"GET /x/../api/config HTTP/1.1", host, evil}, 307},
		"an escaped path":         {[]string{"GET /%61pi/config HTTP/1.1", host, evil}, 403},
		"a POST with two slashes": {[]string{"POST //api/tap HTTP/1.1", host, evil, json, empty}, 307},
		"a POST with two types": {[]string{"POST /api/tap HTTP/1.1", host, "Content-Type: text/plain", json, empty},
			415},
		"an empty origin":            {[]string{get, host, "Origin:"}, 403},
		"two origins":                {[]string{get, host, "Origin: http://" + b.host, "Origin: null"}, 403},
		"two sites":                  {[]string{get, host, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"}, 403},
		"a site in capital letters":  {[]string{get, host, "Sec-Fetch-Site: CROSS-SITE"}, 403},
		"a token and another scheme": {[]string{"GET http:evil.test?token=" + b.Token() + " HTTP/1.1", host}, 303},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, strings.Join(append(c.lines, cookie), "\r\n")+"\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if to := resp.Header.Get("Location"); resp.StatusCode != c.want || strings.Contains(to, "evil") {
				t.Errorf("status %d, want %d; to %q", resp.StatusCode, c.want, to)
			}
		})
	}
}
