package e2e

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// forwardProxies are the forward proxies: one of the tests' own, which remembers what it was asked, and a real one.
var forwardProxies = []struct{ service, port string }{{"forward", "3128"}, {"tinyproxy", "8888"}}

func TestJDK(t *testing.T) {
	needClients(t)
	want := throughEach("absolute-form", "absolute-form, default port", "CONNECT, https", "CONNECT, https with a port")
	want["direct"] = "200 GET /x host HOST"
	for _, how := range []string{
		"drained, streamed", "drained, chunked", "drained, buffered", "left unread", "left unread, no close",
	} {
		want["413 before the body, "+how] = "413"
	}
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			throughForwardProxies(t, p, want, "jdk", "java", "-XX:TieredStopAtLevel=1", "/clients/Forward.java") // starts sooner
		})
	}
}

func TestNodeHTTPSProxyAgent(t *testing.T) {
	needClients(t)
	want := throughEach("absolute-form", "absolute-form, default port", "absolute-form, another Host",
		"CONNECT, https", "CONNECT, https with a port")
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) { throughForwardProxies(t, p, want, "node", "node", "/clients/forward.js") })
	}
}

// throughEach returns what must come of requests for /x through each forward proxy.
func throughEach(names ...string) map[string]string {
	want := map[string]string{}
	for _, proxy := range forwardProxies {
		for _, name := range names {
			want[proxy.service+", "+name] = "200 GET /x host HOST"
		}
	}
	return want
}

// throughForwardProxies compares the outcomes of a client, and then whether the forward proxy was asked for one
// authority by target and by Host (RFC 9112, section 3.2.2).
func throughForwardProxies(t *testing.T, p path, want map[string]string, pod string, command ...string) {
	t.Helper()
	command = append(command, p.host("server"))
	for _, proxy := range forwardProxies {
		command = append(command, p.host(proxy.service)+":"+proxy.port)
	}
	forwardProxyGot(t, p)
	got, err := p.outcomes(pod, command...)
	if err != nil {
		t.Fatal(err)
	}
	p.compare(t, got, want)
	for _, r := range forwardProxyGot(t, p) {
		authority := r.Target
		if u, err := url.Parse(r.Target); err == nil && u.Host != "" {
			authority = u.Host
		}
		host := p.host("server")
		if authority != host && authority != host+":80" && authority != host+":443" {
			t.Errorf("the forward proxy was asked for %q, want %s", r.Target, host)
		}
		if p.meshed() && strings.Split(r.Host, ":")[0] != host {
			t.Errorf("the forward proxy was asked for %q by target and %q by Host", r.Target, r.Host)
		}
	}
}

// forwarded mirrors what the tests' own forward proxy remembers.
type forwarded struct{ Method, Target, Host string }

// forwardProxyGot returns what the forward proxy was asked since it was last asked this.
func forwardProxyGot(t *testing.T, p path) []forwarded {
	t.Helper()
	out, err := p.enter("curl", "/usr/bin/curl", "-sS", "http://"+p.host("forward")+":3128/requests")
	if err != nil {
		t.Fatal(err)
	}
	return decode[[]forwarded](t, []byte(out))
}

func TestCurl(t *testing.T) {
	needClients(t)
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			requests, want := curlCases(p)
			var command []string
			names := slices.Sorted(maps.Keys(requests))
			for i, name := range names {
				if i > 0 {
					command = append(command, "--next")
				}
				command = append(command, "-sk", "-m", "20", "-w", "\n"+name+"|%{http_code} %{errormsg}\n")
				command = append(command, requests[name]...)
			}
			out, err := p.enter("curl", append([]string{"/usr/bin/curl"}, command...)...)
			if err != nil {
				t.Errorf("%v", err)
			}
			p.compare(t, curlOutcomes(t, out), want)
		})
	}
}

// curlCases returns curl's arguments for each case, and what must come of it.
func curlCases(p path) (requests map[string][]string, want map[string]string) {
	server := p.host("server")
	requests = map[string][]string{
		"direct":              {"http://" + server + "/x"},
		"direct, h2c offered": {"--http2", "http://" + server + "/x"},
		// curl would use its HTTP/1 connection for another version if the host was the same.
		"direct, h2c": {"--http2-prior-knowledge", "http://" + server + ".svc/x"},
	}
	want = map[string]string{
		"direct":              "200 GET /x host HOST",
		"direct, h2c offered": "200 GET /x host HOST",
		"direct, h2c":         "200 GET /x host HOST.svc",
	}
	for _, proxy := range forwardProxies {
		via := func(args ...string) []string {
			return append([]string{"-x", p.host(proxy.service) + ":" + proxy.port}, args...)
		}
		for name, args := range map[string][]string{
			"absolute-form":               via("http://" + server + "/x"),
			"absolute-form, another Host": via("-H", "Host: other", "http://"+server+"/x"),
			"absolute-form, POST":         via("--data-binary", "@/usr/bin/h2load", "http://"+server+"/x"),
			"CONNECT, http":               via("-p", "http://"+server+"/x"),
			"CONNECT, https":              via("https://" + server + "/x"),
		} {
			requests[proxy.service+", "+name] = args
			want[proxy.service+", "+name] = "200 GET /x host HOST"
		}
		want[proxy.service+", absolute-form, POST"] = "200 POST /x host HOST"
	}
	post := func(name, how string, times int, args ...string) {
		body := slices.Repeat([]string{"--data-binary", "@/usr/bin/h2load"}, times) // any file
		args = append(args, "http://"+server+":7413/"+how)
		requests["413 before the body, "+name] = append(args, body...)
		want["413 before the body, "+name] = "413"
	}
	for _, how := range []string{"drained", "unread", "open"} {
		for i := range 10 {
			post(fmt.Sprintf("%s, %d", how, i), how, 1)
		}
	}
	post("2 MB, 100 Continue expected", "drained", 8) // curl does this above 1 MiB
	post("2 MB", "drained", 8, "-H", "Expect:")
	return requests, want
}

// curlOutcomes reads answers, each followed by a line "case|status error".
func curlOutcomes(t *testing.T, out string) map[string]string {
	t.Helper()
	outcomes := map[string]string{}
	body := ""
	for line := range strings.Lines(out) {
		name, result, ok := strings.Cut(line, "|")
		if !ok {
			body += line
			continue
		}
		outcome := strings.TrimSpace(result)
		if outcome == "200" {
			s := decode[seen](t, []byte(body))
			outcome = fmt.Sprintf("200 %s %s host %s", s.Method, s.URI, s.Host)
		}
		outcomes[name], body = outcome, ""
	}
	return outcomes
}
