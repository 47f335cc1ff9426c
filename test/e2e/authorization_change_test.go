package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// flip is a right that is taken away in one of the ways there are, and what uses it meanwhile.
type flip struct {
	cell  string
	how   string // h1 or h2c: many requests; h1 stream, h2c stream: one whose answer does not end; tcp
	by    client
	taken func() error
}

func flips() []flip {
	kubectlDo := func(args ...string) func() error {
		return func() error {
			_, err := kubectl(append([]string{"-n", guardedNS}, args...)...)
			return err
		}
	}
	return []flip{
		{"flip-h1", "h1", web, kubectlDo("delete", "serverauthorization", "flip-h1", "--wait=false")},
		{"flip-h2", "h2c", web, kubectlDo("patch", "meshtlsauthentication", "flip-h2", "--type=merge",
			`-p={"spec":{"identities":["spiffe://cluster.local/ns/guarded/sa/web2"]}}`)},
		{"flip-route", "h2c stream", web, kubectlDo("delete", "authorizationpolicy", "flip-route-drops-httproute",
			"--wait=false")},
		{"flip-network", "h1 stream", stranger, kubectlDo("patch", "networkauthentication", "flip-network", "--type=merge",
			`-p={"spec":{"networks":[{"cidr":"192.0.2.0/24"}]}}`)},
		{"flip-tcp", "tcp", web, kubectlDo("patch", "server", "flip-tcp-tcp", "--type=merge",
			`-p={"spec":{"accessPolicy":"deny"}}`)},
		{"flip-tcp-account", "tcp", evil, kubectlDo("delete", "serverauthorization", "flip-tcp-account", "--wait=false")},
	}
}

func flipCells() []*cell {
	return []*cell{
		{name: "flip-h1", policies: admits(`{meshTLS: {serviceAccounts: [{name: web}]}}`), attempts: letIn(web)},
		{name: "flip-h2", policies: byIdentity(webAlone), attempts: letIn(web)},
		{name: "flip-route", policies: routeFor(gatewayRoutes, "drops", "{matches: [{path: {value: /drops}}]}", "["+where+
			"]") +
			routeFor(gatewayRoutes, "ready", "{matches: [{path: {value: /ready}}]}", "["+where+"]") + networks(anywhere),
			attempts: sees("h1", "/ready", "200", web)},
		{name: "flip-network", policies: requires("["+where+"]") + networks(anywhere), attempts: letIn(stranger)},
		{name: "flip-tcp", spec: map[string]string{"": "accessPolicy: all-authenticated"}, attempts: letIn(web)},
		{name: "flip-tcp-account", policies: admits(`{meshTLS: {serviceAccounts: [{name: web, namespace: ` + otherNS +
			`}]}}`), attempts: letIn(evil)},
	}
}

// used is what came of the use of a right.
type used struct {
	last     time.Time // when it last worked
	enough   bool      // it worked before
	ended    string    // how it ended; "" if it did not
	response string
}

// testDenyUnderLoad takes rights while they are used, one after the other: a second later what used it no longer works.
func (g *guarded) testDenyUnderLoad(t *testing.T) {
	list := flips()
	taken := make([]time.Time, len(list))
	results := make([]used, len(list))
	var wg sync.WaitGroup
	for i, f := range list {
		wg.Go(func() {
			var err error
			if results[i], err = g.use(f); err != nil {
				t.Errorf("%s: %v", f.cell, err)
			}
		})
	}
	wg.Go(func() {
		<-time.After(3 * time.Second)
		for i, f := range list {
			if err := f.taken(); err != nil {
				t.Errorf("%s: %v", f.cell, err)
			}
			taken[i] = time.Now()
		}
	})
	wg.Wait()
	for i, f := range list {
		u, late := results[i], results[i].last.Sub(taken[i])
		t.Logf("%s: %s last worked %v after the change: %s", f.cell, f.how, late.Round(time.Millisecond), u.response)
		if !u.enough || u.ended == "" || late > time.Second {
			t.Errorf("%s: %s worked %v after the change; it ended with %q: %s", f.cell, f.how, late, u.ended, u.response)
		}
	}
}

// use makes use of a right for 9 seconds, unless it ends before.
func (g *guarded) use(f flip) (used, error) {
	c := g.cell(f.cell)
	how, stream := strings.CutSuffix(f.how, " stream")
	addr, _ := g.addr(c, attempt{by: f.by, how: how})
	if !stream && how != "tcp" {
		out, err := f.by.app("load", "-url", "http://"+addr+"/", "-proto", how, "-rate", "150", "-count", "1350")
		if err != nil {
			return used{}, err
		}
		var l load
		if err := json.Unmarshal(out, &l); err != nil {
			return used{}, err
		}
		u := used{last: l.LastOK, enough: l.Statuses["200"] > 100,
			response: fmt.Sprintf("statuses %v, errors %v", l.Statuses, l.Errors)}
		if l.Statuses["403"] > 300 && l.Failed == 0 {
			u.ended = "403"
		}
		return u, nil
	}
	out, err := f.by.app("lifeline", "-how", how, "-addr", addr, "-for", "9s")
	if err != nil {
		return used{}, err
	}
	var l struct {
		Bytes int
		Last  time.Time
		Error string
	}
	if err := json.Unmarshal(out, &l); err != nil {
		return used{}, err
	}
	u := used{last: l.Last, enough: l.Bytes > 50, response: fmt.Sprintf("%d bytes", l.Bytes)}
	if !strings.Contains(l.Error, "deadline") && !strings.Contains(l.Error, "timeout") {
		u.ended = l.Error
	}
	return u, nil
}

// limit is the cell's HTTPLocalRateLimitPolicy for a Server.
func limit(suffix, bounds string) string {
	return object("v1alpha1", "HTTPLocalRateLimitPolicy", "{cell}-"+suffix,
		`{targetRef: {group: policy.linkerd.io, kind: Server, name: "{cell}-`+suffix+`"}, `+bounds+`}`)
}

func rateCells() []*cell {
	return []*cell{
		{name: "rate-fair", policies: admits(`{unauthenticated: true}`) + limit("http", `total: {requestsPerSecond: 100}, identity: {requestsPerSecond: 10},
  overrides: [{requestsPerSecond: 20, clientRefs: [{kind: ServiceAccount, name: web2}]}]`), attempts: sees("h1", "/", "200", web)},
		{name: "rate-total", policies: admits(`{unauthenticated: true}`) + limit("http", `total: {requestsPerSecond: 20}`),
			attempts: sees("h1", "/", "200", web)},
		{name: "rate-response", policies: admits(`{unauthenticated: true}`) +
			limit("http", `identity: {requestsPerSecond: 0.02}`) + limit("grpc", `identity: {requestsPerSecond: 0.02}`)},
	}
}

// testRateLimits sends more than may come, from several clients at once.
func (g *guarded) testRateLimits(t *testing.T) {
	const seconds = 5
	type flood struct {
		by   client
		cell string
		rate int
	}
	floods := []flood{
		{web, "rate-fair", 60}, {web2, "rate-fair", 60}, {dotted, "rate-fair", 5}, {stranger, "rate-fair", 30},
		{node, "rate-fair", 30},
		{evil, "rate-total", 40}, {crossed, "rate-total", 40},
	}
	results := make([]load, len(floods))
	var wg sync.WaitGroup
	for i, f := range floods {
		wg.Go(func() {
			addr, _ := g.addr(g.cell(f.cell), attempt{by: f.by, how: "h1"})
			out, err := f.by.app("load", "-url", "http://"+addr+"/", "-rate", fmt.Sprint(f.rate), "-count", fmt.Sprint(f.rate*seconds))
			if err == nil {
				err = json.Unmarshal(out, &results[i])
			}
			if err != nil {
				t.Errorf("%s/%s: %v", f.by.namespace, f.by.deployment, err)
			}
			t.Logf("%s: %s/%s sent %d and got %v", f.cell, f.by.namespace, f.by.deployment, results[i].Sent, results[i].Statuses)
		})
	}
	wg.Wait()
	for i, r := range results {
		if r.Failed != 0 || r.Statuses["200"]+r.Statuses["429"] != r.Sent {
			t.Errorf("%s/%s got %v, errors %v", floods[i].by.namespace, floods[i].by.deployment, r.Statuses, r.Errors)
		}
	}
	// A second's worth may come at once, so 5 seconds let 6 seconds' worth in, if those who start later do not make them
	// longer.
	expect := func(what string, got, rate int) {
		if least, most := rate*(seconds-1), rate*(seconds+3); got < least || got > most {
			t.Errorf("%s: %d requests were let in, want %d to %d", what, got, least, most)
		}
	}
	ok := func(i int) int { return results[i].Statuses["200"] }
	expect("one client's bound", ok(0), 10)
	expect("an override's bound", ok(1), 20)
	if ok(2) != results[2].Sent {
		t.Errorf("a client below its bound: %d of %d requests were let in", ok(2), results[2].Sent)
	}
	expect("those without identity together", ok(3)+ok(4), 10)
	expect("the bound of all together", ok(5)+ok(6), 20)
	g.testDenialOfExcess(t)
}

// testDenialOfExcess reads the response to a client that may make one request in 50 seconds.
func (g *guarded) testDenialOfExcess(t *testing.T) {
	c := *g.cell("rate-response")
	for range 4 {
		c.attempts = append(c.attempts, sees("h1", "/", "", web2)...)
		c.attempts = append(c.attempts, sees("grpc", emptyCall, "", web2)...)
	}
	results, err := g.try(&c)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range results {
		count[r.Got]++
		if r.Got != "429" && r.Got != "grpc 8" {
			continue
		}
		suffix := map[string]string{"429": "http", "grpc 8": "grpc"}[r.Got]
		for _, want := range []string{"HTTPLocalRateLimitPolicy guarded/rate-response-" + suffix,
			"Server guarded/rate-response-" +
				suffix, "client " + web2.spiffeID()} {
			if !strings.Contains(r.ProxyStatus, want) {
				t.Errorf("%s does not name %q: %s", r.Got, want, r.ProxyStatus)
			}
		}
		var after int
		if _, err := fmt.Sscan(r.RetryAfter, &after); err != nil || after < 40 || after > 50 {
			t.Errorf("%s: retry-after is %q, want some 50 seconds", r.Got, r.RetryAfter)
		}
	}
	if want := map[string]int{"200": 1, "429": 3, "grpc 0": 1, "grpc 8": 3}; fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", count, want)
	}
}
