package tapapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// client returns a client that the server takes for the API server.
func (r *rig) client(t *testing.T) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(r.serving.cert)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{*r.frontCert(t)},
	}}}
}

// begin sends a request to watch as a user, and returns the answer while its body goes on.
func (r *rig) begin(t *testing.T, client *http.Client, user, path string, body io.Reader) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+r.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = as(user)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// untilEnd watches until its context ends.
func untilEnd(ctx context.Context, targets []tap.Target, _ tap.Query, emit func(tap.Message) error) error {
	n := len(targets)
	if err := emit(tap.Message{Watching: &n}); err != nil {
		return err
	}
	<-ctx.Done()
	return emit(tap.Message{Event: &tap.Event{Proxy: "after the end"}})
}

// messages reads a stream to its end.
func messages(t *testing.T, body io.Reader) (out []tap.Message) {
	t.Helper()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		var m tap.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		out = append(out, m)
	}
	return out
}

// TestWatchEndsWithTheRight shows that a running watch ends once its user may no longer watch, and once nobody can say
// so for too long. The stream says why, and shows nothing after that.
func TestWatchEndsWithTheRight(t *testing.T) {
	for name, test := range map[string]struct {
		grace  time.Duration
		review func(n int64) (bool, error) // of the review number n
		says   string
		atMost int64 // reviews; 0 means any number
	}{
		"the right is gone": {time.Hour, func(n int64) (bool, error) { return n < 4, nil }, "needs the verb watch", 4},
		"the right is gone after an outage": {time.Hour, func(n int64) (bool, error) {
			if n == 2 || n == 3 {
				return false, errors.New("away")
			}
			return n < 5, nil
		}, "needs the verb watch", 5},
		"the API server is away": {time.Nanosecond, func(n int64) (bool, error) {
			if n > 1 {
				return false, errors.New("away")
			}
			return true, nil
		}, "review the access of the user: away", 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRigWith(t, func(c *Config) { c.ReviewEvery, c.ReviewGrace = time.Millisecond, test.grace },
				webPod("web-1", self.String(), nil))
			var reviews atomic.Int64
			r.watch = untilEnd
			r.review = func(string) (bool, error) { return test.review(reviews.Add(1)) }
			res := r.begin(t, r.client(t), allowed, webPath, nil)
			if res.StatusCode != 200 {
				t.Fatalf("got %d", res.StatusCode)
			}
			got := messages(t, res.Body)
			if len(got) != 2 || got[0].Watching == nil || got[1].Notice == nil || got[1].Notice.Kind != tap.Revoked ||
				!strings.Contains(got[1].Notice.Text, test.says) {
				t.Errorf("got %+v, want a notice %q at the end", got, test.says)
			}
			if n := reviews.Load(); n != test.atMost {
				t.Errorf("got %d reviews, want %d", n, test.atMost)
			}
			if r.logs.FilterMessage("watch revoked").Len() != 1 {
				t.Error("the end is not in the log")
			}
		})
	}
}

// TestQuietWatchGoesOn shows that a watch goes on if nothing happens for longer than a client may take to read. The API
// server speaks HTTP/2, whose streams end at a write deadline even if nothing is written.
func TestQuietWatchGoesOn(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil))
	r.server.writeTimeout = time.Second
	goOn := make(chan struct{})
	r.watch = func(ctx context.Context, targets []tap.Target, _ tap.Query, emit func(tap.Message) error) error {
		n := len(targets)
		if err := emit(tap.Message{Watching: &n}); err != nil {
			return err
		}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return emit(tap.Message{Event: &tap.Event{Proxy: "shop/web-1"}})
	}
	client := r.client(t)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	res := r.begin(t, client, allowed, webPath, nil)
	if res.ProtoMajor != 2 {
		t.Fatalf("got %s, want HTTP/2", res.Proto)
	}
	lines := bufio.NewScanner(res.Body)
	if m := next(t, lines); m.Watching == nil {
		t.Fatalf("got %+v, want that the watch begins", m)
	}
	time.AfterFunc(r.server.writeTimeout+200*time.Millisecond, func() { close(goOn) })
	if m := next(t, lines); m.Event == nil {
		t.Errorf("got %+v, want the event", m)
	}
}

// TestOneUserCannotTakeAllWatches shows the share of one user, and that a watch that ends makes room.
func TestOneUserCannotTakeAllWatches(t *testing.T) {
	pods := []string{"web-1", "web-2", "web-3"}
	r := startRig(t, webPod(pods[0], self.String(), nil), webPod(pods[1], self.String(), nil),
		webPod(pods[2], self.String(), nil))
	r.watch, r.review = untilEnd, func(string) (bool, error) { return true, nil }
	client := r.client(t)
	pod := func(i int) string { return strings.Replace(webPath, "deployments/web", "pods/"+pods[i%len(pods)], 1) }
	var running []*http.Response
	watch := func(user string, i int) (status int, text string) {
		t.Helper()
		<-drained(r)
		res := r.begin(t, client, user, pod(i), nil)
		if res.StatusCode == 200 {
			<-r.watched
			running = append(running, res)
			return 200, ""
		}
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	for i := range maxUserWatches {
		if status, text := watch("bob", i); status != 200 {
			t.Fatalf("watch %d: got %d %s", i, status, text)
		}
	}
	if status, text := watch("bob", 0); status != 429 || !strings.Contains(text, `user \"bob\" has 8 watches already`) {
		t.Errorf("one too many: got %d %s", status, text)
	}
	for i := maxUserWatches; i < maxWatches; i++ {
		if status, text := watch(fmt.Sprint("user-", i), i); status != 200 {
			t.Fatalf("watch %d of another user: got %d %s", i, status, text)
		}
	}
	if status, text := watch("carol", 0); status != 429 || !strings.Contains(text, "all users together have 32") {
		t.Errorf("beyond all: got %d %s", status, text)
	}
	_ = running[0].Body.Close()
	meshtest.Await(t, "a place", func() bool { status, _ := watch("bob", 0); return status == 200 })
}

// drained returns a channel that is closed: watched has room for the next watch.
func drained(r *rig) <-chan struct{} {
	for len(r.watched) > 0 {
		<-r.watched
	}
	done := make(chan struct{})
	close(done)
	return done
}

// TestOneUserCannotTakeAProxy shows the share of one user of the subscriptions of a proxy. A watch of more proxies goes
// on with the others, and says so.
func TestOneUserCannotTakeAProxy(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil), webPod("web-2", self.String(), nil))
	r.watch, r.review = untilEnd, func(string) (bool, error) { return true, nil }
	client := r.client(t)
	one := strings.Replace(webPath, "deployments/web", "pods/web-1", 1)
	for range maxUserOfProxy {
		if res := r.begin(t, client, "bob", one, nil); res.StatusCode != 200 {
			t.Fatalf("got %d", res.StatusCode)
		}
		<-r.watched
	}
	res := r.begin(t, client, "bob", one, nil)
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 429 || !strings.Contains(string(text), "watches each proxy of") {
		t.Errorf("one too many: got %d %s", res.StatusCode, text)
	}
	res = r.begin(t, client, "bob", webPath, nil)
	if targets := <-r.watched; len(targets) != 1 || targets[0].Pod != "web-2" {
		t.Errorf("the others: got %+v", targets)
	}
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"proxy":"shop/web-1"`) || !strings.Contains(line, "watches it 3 times") {
		t.Errorf("notice: got %s, %v", line, err)
	}
	if res := r.begin(t, client, "carol", one, nil); res.StatusCode != 200 {
		t.Errorf("another user: got %d", res.StatusCode)
	}
}

// endless is a body that never ends, and says when somebody reads it.
type endless struct{ read chan struct{} }

func (e *endless) Read([]byte) (int, error) { <-e.read; return 0, io.EOF }

// TestBodyIsReadAfterTheReview shows that a user without the right is refused although the body never comes, and that a
// body of a user with the right has a bounded time.
func TestBodyIsReadAfterTheReview(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil))
	r.server.bodyTimeout = 10 * time.Millisecond
	for user, want := range map[string]int{"mallory": 403, allowed: 408} {
		body := &endless{make(chan struct{})}
		res := r.begin(t, r.client(t), user, webPath, body)
		close(body.read)
		if text, _ := io.ReadAll(res.Body); res.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", user, res.StatusCode, text, want)
		}
		<-r.reviews
	}
}

// TestABodyThatNeverComesKeepsNoConnection: an answer that needs no body does not wait for it.
func TestABodyThatNeverComesKeepsNoConnection(t *testing.T) {
	r := startRig(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.serving.cert)
	for name, c := range map[string]struct {
		certs []tls.Certificate
		line  string
		want  int
	}{
		"a stranger":        {nil, "POST /", 401},
		"an unknown path":   {[]tls.Certificate{*r.frontCert(t)}, "POST /", 404},
		"discovery":         {[]tls.Certificate{*r.frontCert(t)}, "GET /apis/tap.linkerd.io/v1alpha1", 200},
		"a schema":          {[]tls.Certificate{*r.frontCert(t)}, "GET /openapi/v2", 404},
		"without the right": {[]tls.Certificate{*r.frontCert(t)}, "POST " + webPath, 403},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: c.certs})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := c.line + " HTTP/1.1\r\nHost: tap\r\nX-Remote-User: mallory\r\nContent-Length: 1000\r\n\r\n"
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if _, err := reader.ReadByte(); res.StatusCode != c.want || !res.Close || err != io.EOF {
				t.Errorf("got %d, close %t, then %v; want %d and an end", res.StatusCode, res.Close, err, c.want)
			}
		})
	}
}

// TestRefusalsAreLogged shows who was refused what, on one line whatever the user's name has in it, and that nobody can
// fill the log.
func TestRefusalsAreLogged(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil))
	forged := "mallory\u0085\u202eforged" // HTTP itself refuses a line feed
	if status, body := r.call(t, r.frontCert(t), "POST", webPath, "", as(forged)); status != 403 {
		t.Fatalf("got %d %s", status, body)
	}
	<-r.reviews
	lines := r.logs.FilterMessage("request refused").All()
	if len(lines) != 1 {
		t.Fatalf("got %d lines, want 1", len(lines))
	}
	got := lines[0].ContextMap()
	if got["user"] != `"mallory\u0085\u202eforged"` || got["path"] != fmt.Sprintf("%q", webPath) ||
		got["result"] != "denied" || !strings.Contains(got["reason"].(string), `"mallory\u0085\u202eforged" needs the verb`) {
		t.Errorf("got %v", got)
	}
	var l logLimit
	begun := time.Now()
	for range 3 * maxLogLines {
		l.take(begun)
	}
	if suppressed, ok := l.take(begun.Add(time.Second)); !ok || suppressed != 2*maxLogLines {
		t.Errorf("a second later: got %d suppressed, %v; want %d", suppressed, ok, 2*maxLogLines)
	}
}
