package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
)

// tokens are those that the cluster accepts, and may is what their users may see; "" is every namespace.
var (
	tokens = map[string]string{"token-of-alice": "alice", "token-of-bob": "bob", "token-of-root": "root",
		"more-of-alice": "alice"}
	may = map[string][]string{"alice": {"shop"}, "bob": nil, "root": {""}, "carol": {"pay"}, "group dev": {"shop"}}
)

// api is a cluster with the namespaces pay and shop, and an API server.
type api struct {
	connected atomic.Int64
	// posted has the user of each watch of requests.
	posted chan string
}

// connect returns a client with credentials.
func (a *api) connect(c Credentials) (*cluster.Client, error) {
	a.connected.Add(1)
	user, visible := c.User, slices.Clone(may[c.User])
	if c.Token != "" {
		user = tokens[c.Token]
		visible = may[user]
	}
	for _, g := range c.Groups {
		visible = append(visible, may["group "+g]...)
	}
	sees := func(namespace string) bool {
		return slices.Contains(visible, "") || slices.Contains(visible, namespace)
	}
	kube, meta := fake.NewClientset(), metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())
	for _, namespace := range []string{"pay", "shop"} {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api-1"}}
		if err := kube.Tracker().Add(&pod); err != nil {
			return nil, err
		}
	}
	kube.PrependReactor("create", "selfsubjectreviews", func(kubetesting.Action) (bool, runtime.Object, error) {
		if user == "" {
			return true, nil, apierrors.NewUnauthorized("no such user")
		}
		return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{
			UserInfo: authenticationv1.UserInfo{Username: user}}}, nil
	})
	kube.PrependReactor("create", "selfsubjectaccessreviews", func(action kubetesting.Action) (bool, runtime.Object,
		error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		review.Status.Allowed = sees(review.Spec.ResourceAttributes.Namespace)
		return true, review, nil
	})
	kube.PrependReactor("list", "*", func(action kubetesting.Action) (bool, runtime.Object, error) {
		if sees(action.GetNamespace()) {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: action.GetResource().Resource}, "", nil)
	})
	meta.PrependReactor("list", "*", func(action kubetesting.Action) (bool, runtime.Object, error) {
		if !sees(action.GetNamespace()) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: action.GetResource().Resource}, "", nil)
		}
		if action.GetResource().Resource != "namespaces" {
			return true, &metav1.List{}, nil
		}
		list, err := namespaces(context.Background())
		out := &metav1.List{}
		for i := range list {
			out.Items = append(out.Items, runtime.RawExtension{Object: &list[i]})
		}
		return true, out, err
	})
	return &cluster.Client{Interface: kube, Metadata: meta,
		Post: func(ctx context.Context, _ string, _ []byte) (io.ReadCloser, error) {
			a.posted <- user
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, `{"watching":1}`+"\n") // the reader may be gone
				<-ctx.Done()
				_ = w.CloseWithError(ctx.Err()) // it always returns nil
			}()
			return r, nil
		}}, nil
}

func namespaces(context.Context) ([]metav1.PartialObjectMetadata, error) {
	var out []metav1.PartialObjectMetadata
	for _, name := range []string{"pay", "shop"} {
		out = append(out, metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return out, nil
}

const seriesOfTwo = series + `
response_total{direction="inbound",namespace="pay",deployment="api",classification="success"} 60
`

const authProxy = "spiffe://cluster.local/ns/auth/sa/oauth2-proxy"

// inCluster returns a bed whose viewers have credentials.
func inCluster(t *testing.T, change ...func(*Config)) (*bed, *api) {
	t.Helper()
	source, err := metricstest.New(seriesOfTwo)
	if err != nil {
		t.Fatal(err)
	}
	return inClusterWith(t, source, change...)
}

func inClusterWith(t *testing.T, source metrics.Source, change ...func(*Config)) (*bed, *api) {
	t.Helper()
	a := &api{posted: make(chan string, 1)}
	auth := NewAuthenticator(ClusterConfig{Connect: a.connect, Numbers: source, Namespaces: namespaces,
		ControlNamespace: "tulle", Version: "v1", Impersonation: &Impersonation{Client: authProxy, UserHeader: "X-User",
			GroupsHeader: "X-Groups", Groups: []string{"dev"}}})
	change = append(change, func(c *Config) {
		c.Authenticate, c.Viewer, c.Origin = auth.Viewer, Viewer{}, "https://dashboard.test"
		c.Hosts = append(c.Hosts, "dashboard.test")
	})
	return startWith(t, func(l net.Listener) net.Listener { return ownProxy{l} }, change...), a
}

// ownProxy is the listener of a pod whose own proxy connects.
type ownProxy struct{ net.Listener }

func (l ownProxy) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return podConn{conn}, err
}

type podConn struct{ net.Conn }

func (podConn) LocalAddr() net.Addr  { return addr("10.1.2.3:8084") }
func (podConn) RemoteAddr() net.Addr { return addr("10.1.2.3:40000") }

func token(value string) func(*http.Request) { return header("Authorization", "Bearer "+value) }

// TestNothingWithoutCredentials: no page, no file and no data is for those whom the cluster does not know.
func TestNothingWithoutCredentials(t *testing.T) {
	b, _ := inCluster(t)
	twice := []string{"Bearer token-of-root", "Bearer x"}
	for name, change := range map[string]func(*http.Request){
		"none":               func(*http.Request) {},
		"an unknown token":   token("guessed"),
		"an empty token":     token(""),
		"two tokens":         func(r *http.Request) { r.Header["Authorization"] = twice },
		"a password":         header("Authorization", "Basic cm9vdDpyb290"),
		"a token in a query": func(r *http.Request) { r.URL.RawQuery += "&token=token-of-root&access_token=token-of-root" },
		"a token in a cookie": func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: "token", Value: "token-of-root"})
		},
		"the token of a session": func(r *http.Request) { r.URL.RawQuery += "&token=" + b.Token() },
		"the cookie of a session": func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: cookieName(r), Value: b.session.cookie})
		},
		"a name alone": header("X-User", "root"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/?", "/assets/index.js?", "/api/config?", "/api/page?page=overview",
				"/api/stream?page=overview"} {
				got := b.send(http.MethodGet, path, "", change)
				body, err := io.ReadAll(got.Body)
				if err != nil || got.StatusCode != http.StatusUnauthorized || got.Header.Get("WWW-Authenticate") != "Bearer" ||
					len(got.Cookies()) > 0 || strings.Contains(string(body), "token-of-root") {
					t.Errorf("%s: status %d, headers %v, error %v: %s", path, got.StatusCode, got.Header, err, body)
				}
			}
			got := b.send(http.MethodPost, "/api/tap?", "{}", change, asJSON)
			if got.StatusCode != http.StatusUnauthorized {
				t.Errorf("tap: status %d", got.StatusCode)
			}
		})
	}
}

// overviewOf returns the namespaces that a viewer sees on the overview.
func overviewOf(t *testing.T, b *bed, path string, change ...func(*http.Request)) (status int, names string,
	refusal board.Refusal) {
	t.Helper()
	got := b.send(http.MethodGet, path, "", change...)
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK {
		if err := json.Unmarshal(body, &refusal); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return got.StatusCode, "", refusal
	}
	var page board.OverviewPage
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, n := range page.Namespaces {
		names += fmt.Sprintf("%s %v ", n.Name, n.RPS)
	}
	return got.StatusCode, names, refusal
}

// TestViewersSeeWhatTheyMay: exactly their namespaces, with the numbers of each.
func TestViewersSeeWhatTheyMay(t *testing.T) {
	b, _ := inCluster(t)
	proxied := func(user, groups string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set(clientIDHeader, authProxy)
			r.Header.Set("X-User", user)
			r.Header.Set("X-Groups", groups)
		}
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		path   string
		status int
		names  string
	}{
		"all":                       {token("token-of-root"), "", 200, "shop 2 pay 1 "},
		"one":                       {token("token-of-alice"), "", 200, "shop 2 "},
		"one, by name":              {token("token-of-alice"), "&namespace=shop", 200, "shop 2 "},
		"another, by name":          {token("token-of-alice"), "&namespace=pay", 403, ""},
		"none":                      {token("token-of-bob"), "", 403, ""},
		"a user of a proxy":         {proxied("carol", ""), "", 200, "pay 1 "},
		"a group of a proxy":        {proxied("dave", "ops, dev"), "", 200, "shop 2 "},
		"a group that is not known": {proxied("dave", "ops"), "", 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, names, refusal := overviewOf(t, b, "/api/page?page=overview"+c.path, c.change)
			if status != c.status || names != c.names || status == 403 && refusal.Code != board.Forbidden {
				t.Errorf("status %d %q, want %d %q; refusal %+v", status, names, c.status, c.names, refusal)
			}
		})
	}
	got := b.send(http.MethodGet, "/api/config", "", token("token-of-alice"))
	if body, err := io.ReadAll(got.Body); err != nil || !strings.Contains(string(body), `"viewer":"alice"`) {
		t.Errorf("error %v: %s", err, body)
	}
}

// TestHistoryIsOfTheViewersNamespaces: viewers share one answer for the past, and see their part of it.
func TestHistoryIsOfTheViewersNamespaces(t *testing.T) {
	var asked atomic.Int64
	a := &api{}
	auth := NewAuthenticator(ClusterConfig{Connect: a.connect, Namespaces: namespaces, ControlNamespace: "tulle",
		History: CacheHistory(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
			asked.Add(1)
			sample := func(namespace string, n float64) metrics.Sample {
				return metrics.Sample{Labels: map[string]string{"namespace": namespace}, Value: n}
			}
			return metrics.History{Moments: []metrics.Moment{
				{Samples: [][]metrics.Sample{{sample("pay", 1), sample("shop", 2)}}}}}, nil
		})})
	for value, want := range map[string]float64{"token-of-root": 3, "token-of-alice": 2, "token-of-bob": 0} {
		r, err := http.NewRequest(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		token(value)(r)
		viewer, err := auth.Viewer(r)
		if err != nil {
			t.Fatal(err)
		}
		history, err := viewer.Sources().History(t.Context(), metrics.HistoryRequest{Step: time.Minute,
			Queries: []metrics.Query{{Metric: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		got := 0.0
		for _, s := range history.Moments[0].Samples[0] {
			got += s.Value
		}
		if got != want {
			t.Errorf("%s: %v, want %v", value, got, want)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestHeadersThatNameNobody: a name counts only from the configured identity, through this pod's proxy, and never if it
// is one of Kubernetes' own.
func TestHeadersThatNameNobody(t *testing.T) {
	b, a := inCluster(t)
	for name, set := range map[string]map[string][]string{
		"another client":       {clientIDHeader: {"spiffe://cluster.local/ns/auth/sa/other"}, "X-User": {"carol"}},
		"no client":            {"X-User": {"carol"}},
		"two clients":          {clientIDHeader: {authProxy, authProxy}, "X-User": {"carol"}},
		"a client within text": {clientIDHeader: {authProxy + "-2"}, "X-User": {"carol"}},
		"another header":       {clientIDHeader: {authProxy}, "X-Forwarded-User": {"carol"}},
		"no user":              {clientIDHeader: {authProxy}, "X-Groups": {"dev"}},
		"two users":            {clientIDHeader: {authProxy}, "X-User": {"carol", "root"}},
		"an empty user":        {clientIDHeader: {authProxy}, "X-User": {""}},
		"a ServiceAccount":     {clientIDHeader: {authProxy}, "X-User": {"system:serviceaccount:shop:web"}},
		"an administrator":     {clientIDHeader: {authProxy}, "X-User": {"system:admin"}, "X-Groups": {"system:masters"}},
		"a long name":          {clientIDHeader: {authProxy}, "X-User": {strings.Repeat("a", 300)}},
	} {
		got := b.send(http.MethodGet, "/api/config", "", func(r *http.Request) {
			for key, values := range set {
				r.Header[http.CanonicalHeaderKey(key)] = values
			}
		})
		if got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, got.StatusCode)
		}
	}
	if n := a.connected.Load(); n > 0 {
		t.Errorf("%d requests with such headers asked the cluster", n)
	}
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(clientIDHeader, authProxy)
	for _, c := range []struct {
		name, from, to string
		want           bool
	}{
		{"the pod's proxy", "10.1.2.3:5", "10.1.2.3:8084", true},
		{"the same over a socket for both families", "[::ffff:10.1.2.3]:5", "10.1.2.3:8084", true},
		{"another pod", "10.1.2.4:5", "10.1.2.3:8084", false},
		{"a port-forward", "127.0.0.1:5", "127.0.0.1:8084", false},
		{"a port-forward over IPv6", "[::1]:5", "[::1]:8084", false},
		{"a port-forward over a socket for both families", "[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:8084", false},
		{"another process of the pod", "127.0.0.1:5", "10.1.2.3:8084", false},
		{"nobody knows", "", "10.1.2.3:8084", false},
	} {
		r.RemoteAddr = c.from
		own := r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr(c.to)))
		if got := (&Impersonation{Client: authProxy}).vouches(own); got != c.want {
			t.Errorf("%s: vouches %v, want %v", c.name, got, c.want)
		}
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// TestKubernetesNamesAreNobodys: groups that the API server gives rights to by name cannot come from a header, even if
// they are configured.
func TestKubernetesNamesAreNobodys(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "10.1.2.3:1"
	r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr("10.1.2.3:8084")))
	r.Header.Set(clientIDHeader, authProxy)
	r.Header.Set("X-User", "carol")
	r.Header["X-Groups"] = []string{"system:masters,dev", "ops"}
	got, ok := (&Impersonation{Client: authProxy, UserHeader: "X-User", GroupsHeader: "X-Groups",
		Groups: []string{"system:masters", "dev", "ops"}}).read(r)
	if !ok || got.User != "carol" || !slices.Equal(got.Groups, []string{"dev", "ops"}) {
		t.Errorf("credentials %+v, %v", got, ok)
	}
}

// TestOriginBehindAnIngress: the origin of the dashboard's pages is that of its external address.
func TestOriginBehindAnIngress(t *testing.T) {
	b, _ := inCluster(t)
	for origin, want := range map[string]int{"https://dashboard.test": 200, "http://dashboard.test": 403,
		"https://evil.test": 403, "http://" + b.host: 403, "": 200} {
		got := b.send(http.MethodGet, "/api/config", "", token("token-of-root"), func(r *http.Request) {
			r.Host = "dashboard.test"
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
		})
		if got.StatusCode != want {
			t.Errorf("origin %q: status %d, want %d", origin, got.StatusCode, want)
		}
	}
	got := b.send(http.MethodGet, "/", "", token("token-of-root"), func(r *http.Request) { r.Host = "evil.test" })
	if got.StatusCode != http.StatusForbidden {
		t.Errorf("another host: status %d", got.StatusCode)
	}
}

// TestViewersShareNoPage: a page that is open for one viewer is not the page of another with the same address.
func TestViewersShareNoPage(t *testing.T) {
	b, _ := inCluster(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.host+"/api/stream?page=overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	token("token-of-root")(r)
	stream, err := b.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if _, data := event(t, bufio.NewScanner(stream.Body)); !strings.Contains(data, `"pay"`) {
		t.Fatalf("page %s", data)
	}
	for user, want := range map[string]string{"token-of-alice": "shop 2 ", "token-of-bob": "",
		"token-of-root": "shop 2 pay 1 "} {
		if _, names, _ := overviewOf(t, b, "/api/page?page=overview", token(user)); names != want {
			t.Errorf("%s sees %q, want %q", user, names, want)
		}
	}
}

// TestBoundsAreOfUsers: more tokens of the same user are no more places.
func TestBoundsAreOfUsers(t *testing.T) {
	b, _ := inCluster(t, func(c *Config) { c.MaxViewerStreams = 1 })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.host+"/api/stream?page=overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	token("token-of-alice")(r)
	stream, err := b.browser.Do(r)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatalf("status %d, error %v", stream.StatusCode, err)
	}
	defer stream.Body.Close()
	for other, want := range map[string]int{"more-of-alice": http.StatusServiceUnavailable,
		"token-of-root": http.StatusOK} {
		got := b.send(http.MethodGet, "/api/page?page=overview", "", token(other))
		if got.StatusCode != want {
			t.Errorf("%s: status %d, want %d", other, got.StatusCode, want)
		}
	}
}

// TestViewersAreForgotten: nobody's credentials are kept for long, and somebody with many tokens keeps nobody out.
func TestViewersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAuthenticator(ClusterConfig{})
		for i := range maxViewers + 10 {
			if _, first := a.find(fmt.Sprint(i)); !first {
				t.Fatalf("token %d is known", i)
			}
			time.Sleep(time.Millisecond)
		}
		if _, first := a.find(fmt.Sprint(maxViewers)); first || len(a.known) != maxViewers {
			t.Errorf("%d viewers are known; the last is new: %v", len(a.known), first)
		}
		if _, first := a.find("0"); !first {
			t.Error("the oldest is still known")
		}
		time.Sleep(viewerTTL)
		if a.find("new"); len(a.known) != 1 {
			t.Errorf("%d viewers are known after a while", len(a.known))
		}
	})
}

// TestStreamsAskForCredentialsAgain: a group that the proxy names no more does not count for as long as a browser keeps
// a stream open.
func TestStreamsAskForCredentialsAgain(t *testing.T) {
	b, a := inCluster(t)
	b.credentialsFor = 50 * time.Millisecond
	asDave := func(r *http.Request) {
		r.Header.Set(clientIDHeader, authProxy)
		r.Header.Set("X-User", "dave")
		r.Header.Set("X-Groups", "dev")
	}
	stream := b.send(http.MethodGet, "/api/stream?page=overview", "", asDave) // returns when the stream has ended
	if body, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(body), "event: page") {
		t.Errorf("error %v, stream %s", err, body)
	}
	watch := b.send(http.MethodPost, "/api/tap", `{"target":{"kind":"deploy","namespace":"shop","name":"web"}}`, asJSON,
		asDave)
	<-a.posted
	if body, err := io.ReadAll(watch.Body); err != nil || !strings.Contains(string(body), `{"refusal":{"code":"unavail`) {
		t.Errorf("error %v, watch %s", err, body)
	}
}

// TestTapAsksWithTheViewersRights: the watch goes to the API server with the viewer's own credentials.
func TestTapAsksWithTheViewersRights(t *testing.T) {
	b, a := inCluster(t)
	b.credentialsFor = 50 * time.Millisecond
	b.send(http.MethodPost, "/api/tap", `{"target":{"kind":"deploy","namespace":"shop","name":"web"}}`, asJSON,
		token("token-of-alice"))
	if user := <-a.posted; user != "alice" {
		t.Errorf("the watch was %s's", user)
	}
}

// TestBearerTokensAreNowhere: neither the log nor an answer has a token.
func TestBearerTokensAreNowhere(t *testing.T) {
	core, lines := observer.New(zap.DebugLevel)
	b, _ := inCluster(t, func(c *Config) { c.Log = zap.New(core) })
	for _, path := range []string{"/", "/api/config", "/api/page?page=overview", "/api/page?page=panics"} {
		for value := range tokens {
			got := b.send(http.MethodGet, path, "", token(value))
			body, err := io.ReadAll(got.Body)
			if err != nil || strings.Contains(fmt.Sprint(string(body), got.Header), value) {
				t.Errorf("%s: error %v, headers %v: %s", path, err, got.Header, body)
			}
		}
	}
	if lines.Len() == 0 {
		t.Error("the panic is not in the log")
	}
	for _, line := range lines.All() {
		for _, field := range line.Context {
			if strings.Contains(line.Message+field.String+fmt.Sprint(field.Interface), "token-of-") {
				t.Errorf("the log has a token: %s %v", line.Message, field)
			}
		}
	}
}

// TestManyViewersCostAsMuchAsOne: viewers with different rights share the questions.
func TestManyViewersCostAsMuchAsOne(t *testing.T) {
	const viewers = 200
	for i := range viewers {
		tokens[fmt.Sprintf("token-of-%d", i)] = "alice"
	}
	defer func() {
		for i := range viewers {
			delete(tokens, fmt.Sprintf("token-of-%d", i))
		}
	}()
	ask := func(n int) (questions int) {
		began := time.Now()
		source := &counting{}
		shared := NewSharedSource(source)
		defer shared.Close()
		b, a := inClusterWith(t, shared)
		for i := range n {
			value := fmt.Sprintf("token-of-%d", i)
			if i == 1 {
				value = "token-of-root"
			}
			got := b.send(http.MethodGet, "/api/page?page=one", "", token(value))
			if got.StatusCode != http.StatusOK {
				t.Fatalf("viewer %d: status %d", i, got.StatusCode)
			}
		}
		if got := a.connected.Load(); got != int64(n) {
			t.Errorf("%d viewers are %d for the cluster", n, got)
		}
		return source.count() - int(time.Since(began)/answerTTL) // numbers are shared for that long
	}
	if one, many := ask(1), ask(viewers); many > one {
		t.Errorf("%d viewers asked %d times, one asked %d times", viewers, many, one)
	}
}
