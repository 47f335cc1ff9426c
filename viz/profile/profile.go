// Package profile makes the routes of a ServiceProfile from the requests that tap shows.
//
// It owns which requests become a route, and how many. It must not know where events come from. The one idea: of more
// paths than a profile should have, the most frequent ones are the routes.
package profile

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// Bounds of a route. Source: install/chart/definitions/linkerd.io_serviceprofiles.yaml.
const (
	MaxRoutes = 1000 // of a profile
	maxName   = 1024 // characters
	maxMethod = 32   // bytes
)

// maxSeen bounds the routes among which the most frequent ones are chosen. Requests of further ones do not count.
const maxSeen = 10000

// probe is how events name the authorization of the kubelet's probes.
const probe = "default/probe"

// Recorder collects requests. It is for one goroutine. The zero value is ready.
type Recorder struct {
	seen map[request]int
	left int
}

type request struct{ path, method string }

// Add takes an event. Requests that arrived at a server count; the kubelet's probes do not.
func (r *Recorder) Add(e *tap.Event) {
	if e.RequestInit == nil || e.ProxyDirection != "INBOUND" || e.Authorization == probe {
		return
	}
	path, _, _ := strings.Cut(e.RequestInit.Path, "?")
	of := request{path, e.RequestInit.Method}
	if _, known := r.seen[of]; !fits(of) || !known && len(r.seen) >= maxSeen {
		r.left++
		return
	}
	if r.seen == nil {
		r.seen = map[request]int{}
	}
	r.seen[of]++
}

// fits reports whether a profile can have the route. A proxy cuts long paths, and a regular expression of half a path
// matches nothing.
func fits(r request) bool {
	switch {
	case !strings.HasPrefix(r.path, "/") || strings.HasSuffix(r.path, "…") || !utf8.ValidString(r.path):
		return false
	case r.method == "" || len(r.method) > maxMethod || table.Safe(r.path+r.method) != r.path+r.method:
		return false
	}
	return utf8.RuneCountInString(name(r)) <= maxName && len(regexp.QuoteMeta(r.path)) <= mesh.MaxRegexBytes
}

func name(r request) string { return r.method + " " + r.path }

// Routes returns a route for each of the most frequent requests, at most limit, in the order of their paths and
// methods. omitted is how many there are beyond the limit, and left how many requests have no place in a profile.
func (r *Recorder) Routes(limit int) (routes []v1alpha1.RouteSpec, omitted, left int) {
	order := func(a, b request) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) }
	found := slices.SortedFunc(maps.Keys(r.seen), func(a, b request) int {
		return cmp.Or(cmp.Compare(r.seen[b], r.seen[a]), order(a, b))
	})
	omitted = max(0, len(found)-limit)
	found = found[:len(found)-omitted]
	slices.SortFunc(found, order)
	for _, each := range found {
		routes = append(routes, v1alpha1.RouteSpec{
			Name:      name(each),
			Condition: &v1alpha1.RequestMatch{Method: each.method, PathRegex: regexp.QuoteMeta(each.path)},
		})
	}
	return routes, omitted, r.left
}
