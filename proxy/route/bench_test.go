package route

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// manyRules returns 200 rules with every kind of match. The request matches the last one that is compared.
func manyRules() []mesh.Route {
	var matches []mesh.Match
	for i := range 40 {
		matches = append(matches,
			exact(fmt.Sprintf("/exact/%d", i)), prefix(fmt.Sprintf("/prefix/%d", i)), regex(fmt.Sprintf("/regex/%d/[a-z]+", i)),
			with(prefix("/api"), fmt.Sprintf("x-user: %d", i)), asking(prefix("/api"), fmt.Sprintf("version=%d", i)))
	}
	return []mesh.Route{rules(append(matches, prefix("/api"))...)}
}

func typical() *message.Head {
	return get("GET", "/api/v1/books/42?version=none&x=1", "user-agent: Mozilla/5.0 (X11; Linux x86_64)", "accept: */*",
		"accept-encoding: gzip", "x-request-id: 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "x-user: jason", "cookie: session=123",
		"te: trailers")
}

// cpu is the time that the process has computed: unlike the clock, it does not count what else the machine does.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkMatch(b *testing.B) {
	regexes := make([]mesh.Match, 200)
	for i := range regexes {
		regexes[i] = regex(fmt.Sprintf("/api/v[0-9]+/shelf%d/.*", i))
	}
	for name, routes := range map[string][]mesh.Route{
		"no rules":                nil,
		"1 rule":                  {rules(prefix("/"))},
		"1 rule with a header":    {rules(with(prefix("/"), "x-user: jason"))},
		"200 rules":               manyRules(),
		"200 regular expressions": {rules(append(regexes, prefix("/api"))...)},
	} {
		table := Compile(&mesh.Outbound{Routes: routes})
		req := typical()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			began := cpu()
			for b.Loop() {
				if _, ok := table.Match(req); !ok {
					b.Fatal("no match")
				}
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkCompile200(b *testing.B) {
	routes := manyRules()
	for b.Loop() {
		CompileRoutes(routes)
	}
}
