package profile

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/viz/tap"
)

func arrived(method, path string) *tap.Event {
	return &tap.Event{ProxyDirection: "INBOUND", RequestInit: &tap.RequestInit{Method: method, Path: path}}
}

// TestRoutes: the most frequent ones, in the order of their paths, and each matches its path only.
func TestRoutes(t *testing.T) {
	var r Recorder
	for range 2 {
		r.Add(arrived("GET", "/books/1.json?page=2"))
		r.Add(arrived("POST", "/books/1.json"))
		r.Add(arrived("GET", "/a"))
	}
	r.Add(arrived("GET", "/rare"))
	outbound, probe, end := arrived("GET", "/out"), arrived("GET", "/ready"), arrived("GET", "/end")
	outbound.ProxyDirection, probe.Authorization, end.RequestInit = "OUTBOUND", "default/probe", nil
	r.Add(outbound)
	r.Add(probe)
	r.Add(end)
	for _, e := range []*tap.Event{
		arrived("GET", "*"), arrived("", "/a"), arrived("GET", "/"+strings.Repeat("a", 1100)), arrived("GET", "/a\x1b"),
		arrived("GET", "/cut…"), arrived("GET", "/\xff"), arrived(strings.Repeat("M", 33), "/a"),
	} {
		r.Add(e)
	}
	routes, omitted, left := r.Routes(3)
	var got []string
	for _, route := range routes {
		got = append(got, route.Name+" "+route.Condition.Method+" "+route.Condition.PathRegex)
	}
	want := []string{"GET /a GET /a", `GET /books/1.json GET /books/1\.json`, `POST /books/1.json POST /books/1\.json`}
	if diff := cmp.Diff(want, got); diff != "" || omitted != 1 || left != 7 {
		t.Errorf("omitted %d, left %d, want 1 and 7; routes (-want +got):\n%s", omitted, left, diff)
	}
	if regexp.MustCompile("^(" + routes[1].Condition.PathRegex + ")$").MatchString("/books/1xjson") {
		t.Error("a route matches another path")
	}
}

func TestRecorderIsBounded(t *testing.T) {
	var r Recorder
	for i := range maxSeen + 10 {
		r.Add(arrived("GET", fmt.Sprintf("/%d", i)))
	}
	r.Add(arrived("GET", "/0"))
	if routes, omitted, left := r.Routes(1); len(routes) != 1 || routes[0].Name != "GET /0" || omitted != maxSeen-1 ||
		left != 10 {
		t.Errorf("got %d routes, %d omitted, %d left", len(routes), omitted, left)
	}
}
