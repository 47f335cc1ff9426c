package route

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// get returns the head of a request: a method, a target and fields as "name: value".
func get(method, target string, fields ...string) *message.Head {
	h := &message.Head{}
	h.SetPart(message.Method, method)
	h.SetPart(message.Scheme, "http")
	h.SetPart(message.Authority, "cart.shop:8080")
	h.SetPart(message.Path, target)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// rules returns a route with one rule a match, each named by its place.
func rules(matches ...mesh.Match) mesh.Route {
	r := mesh.Route{Ref: mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "r"}}
	for i, m := range matches {
		r.Rules = append(r.Rules, mesh.Rule{Name: fmt.Sprint(i), Matches: []mesh.Match{m}})
	}
	return r
}

func exact(path string) mesh.Match  { return mesh.Match{Path: mesh.ExactPath, Value: path} }
func prefix(path string) mesh.Match { return mesh.Match{Path: mesh.PrefixPath, Value: path} }
func regex(path string) mesh.Match  { return mesh.Match{Path: mesh.RegexPath, Value: path} }

func with(m mesh.Match, fields ...string) mesh.Match {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.Headers = append(m.Headers, mesh.FieldMatch{Name: name, Value: value})
	}
	return m
}

func asking(m mesh.Match, parameters ...string) mesh.Match {
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		m.Query = append(m.Query, mesh.FieldMatch{Name: name, Value: value})
	}
	return m
}

// name returns the name of the rule that the request falls under.
func name(t *Table, h *message.Head) string {
	hit, ok := t.Match(h)
	if !ok {
		return "none"
	}
	return hit.Rule.Name
}

// Gateway API, HTTPRouteRule.matches: what a match is preferred by, from the first criterion to the last.
func TestPrecedence(t *testing.T) {
	method := func(m mesh.Match) mesh.Match { m.Method = "GET"; return m }
	for what, c := range map[string][2]mesh.Match{
		"an exact path before a prefix of everything": {exact("/a/b"), with(method(prefix("/a/b")), "x: 1", "y: 2")},
		"an exact path before a regular expression":   {exact("/a/b"), regex("/a/b")},
		"a regular expression before a prefix":        {regex("/a/.*"), prefix("/a/b")},
		"the longer prefix":                           {prefix("/a/b"), with(method(prefix("/a")), "x: 1")},
		"any prefix before none":                      {prefix("/a"), with(mesh.Match{}, "x: 1", "y: 2")},
		"a method before headers":                     {method(prefix("/a")), with(prefix("/a"), "x: 1", "y: 2")},
		"more headers":                                {with(prefix("/a"), "x: 1", "y: 2"), with(prefix("/a"), "x: 1")},
		"headers before parameters":                   {with(prefix("/a"), "x: 1"), asking(prefix("/a"), "p=1", "q=2")},
		"more parameters":                             {asking(exact("/a/b"), "p=1", "q=2"), asking(exact("/a/b"), "p=1")},
		"the first rule":                              {with(exact("/a/b"), "x: 1"), with(exact("/a/b"), "y: 2")},
	} {
		req := get("GET", "/a/b?p=1&q=2", "x: 1", "y: 2")
		if got := name(CompileRoutes([]mesh.Route{rules(c[0], c[1])}), req); got != "0" {
			t.Errorf("%s: rule %s wins", what, got)
		}
		if what == "the first rule" {
			continue
		}
		if got := name(CompileRoutes([]mesh.Route{rules(c[1], c[0])}), req); got != "1" {
			t.Errorf("%s, in the other order: rule %s wins", what, got)
		}
		if got := name(CompileRoutes([]mesh.Route{rules(c[1]), rules(exact("/z"), c[0])}), req); got != "1" {
			t.Errorf("%s, in another route: rule %s wins", what, got)
		}
	}
}

// A match that could not be read whole may have been meant to guard what others open: it comes before them, however
// specific they are.
func TestAWidenedMatchComesFirst(t *testing.T) {
	widened := func(m mesh.Match) mesh.Match { m.Widened = true; return m }
	post := mesh.Match{Method: "POST"}
	for what, c := range map[string]struct {
		widened mesh.Match
		target  string
		want    string
	}{
		"nothing of it is known":           {mesh.Match{}, "/a/b", "guard"},
		"its path is known":                {prefix("/a"), "/a/b", "guard"},
		"its path is known, and another":   {prefix("/c"), "/a/b", "0"},
		"its method is known":              {mesh.Match{Method: "GET"}, "/a/b", "guard"},
		"its method is known, and another": {post, "/a/b", "0"},
		"a header is known":                {with(mesh.Match{}, "x: 1"), "/a/b", "guard"},
		"a header is known, and another":   {with(mesh.Match{}, "x: 2"), "/a/b", "0"},
	} {
		guard := mesh.Route{Rules: []mesh.Rule{{Name: "guard", Matches: []mesh.Match{widened(c.widened)},
			Invalid: "it cannot be read"}}}
		wide := rules(exact("/a/b"), regex("/a/.*"), with(prefix("/a/b"), "x: 1"), prefix("/"))
		for i, routes := range [][]mesh.Route{{wide, guard}, {guard, wide}} {
			hit, _ := CompileRoutes(routes).Match(get("GET", c.target, "x: 1"))
			if hit.Rule == nil || hit.Rule.Name != c.want || hit.Widened != (c.want == "guard") {
				t.Errorf("%s, order %d: got %+v", what, i, hit)
			}
		}
	}
}

func TestTheEarlierRouteWinsATie(t *testing.T) {
	table := CompileRoutes([]mesh.Route{rules(exact("/z"), prefix("/a")), rules(prefix("/a"))})
	if hit, ok := table.Match(get("GET", "/a")); !ok || hit.Rule.RouteIndex != 0 || hit.Rule.RuleIndex != 1 {
		t.Errorf("got %+v, %v", hit.Rule, ok)
	}
}

func TestMatch(t *testing.T) {
	any := mesh.Match{}
	re := func(m mesh.Match) mesh.Match {
		for i := range m.Headers {
			m.Headers[i].Regex = true
		}
		for i := range m.Query {
			m.Query[i].Regex = true
		}
		return m
	}
	method := mesh.Match{Method: "GET"}
	for what, c := range map[string]struct {
		match mesh.Match
		req   *message.Head
		want  bool
	}{
		"the path itself":                         {prefix("/v2"), get("GET", "/v2"), true},
		"a slash behind it":                       {prefix("/v2"), get("GET", "/v2/"), true},
		"a path below":                            {prefix("/v2"), get("GET", "/v2/x"), true},
		"half a segment is none":                  {prefix("/v2"), get("GET", "/v2example"), false},
		"a prefix with a slash means the same":    {prefix("/v2/"), get("GET", "/v2"), true},
		"the query is no path":                    {exact("/v2"), get("GET", "/v2?/x"), true},
		"an exact path has no slash behind it":    {exact("/v2"), get("GET", "/v2/"), false},
		"case matters":                            {exact("/v2"), get("GET", "/V2"), false},
		"the root prefix takes everything":        {prefix("/"), get("GET", "/x/y"), true},
		"and OPTIONS of the server":               {prefix("/"), get("OPTIONS", "*"), true},
		"and CONNECT, which has no path":          {any, get("CONNECT", ""), true},
		"no other path takes OPTIONS *":           {exact("/"), get("OPTIONS", "*"), false},
		"an encoded letter is that letter":        {exact("/admin"), get("GET", "/%61dmin"), true},
		"dot segments are resolved":               {prefix("/admin"), get("GET", "/x/../admin/y"), true},
		"also encoded ones":                       {exact("/admin"), get("GET", "/x/%2e%2E/admin"), true},
		"a prefix is not left through dots":       {prefix("/public"), get("GET", "/public/../admin"), false},
		"slashes count once":                      {prefix("/admin"), get("GET", "//admin"), true},
		"an encoded slash is no separator":        {prefix("/a/b"), get("GET", "/a%2Fb"), false},
		"encodings are compared without case":     {exact("/%C3%A9"), get("GET", "/%c3%a9"), true},
		"and with bytes that ought to be encoded": {exact("/%C3%A9"), get("GET", "/\xc3\xa9"), true},
		"a dot file is no dot segment":            {exact("/.well-known/x"), get("GET", "/.well-known/x"), true},
		"an expression takes the whole path":      {regex("/a|/ab"), get("GET", "/ab"), true},
		"and nothing less":                        {regex("/a"), get("GET", "/ab"), false},
		"the method":                              {method, get("GET", "/"), true},
		"methods have case":                       {method, get("get", "/"), false},
		"a header":                                {with(any, "x-user: jason"), get("GET", "/", "X-User: jason"), true},
		"its value has case":                      {with(any, "x-user: jason"), get("GET", "/", "x-user: Jason"), false},
		"its name in the rule may have any":       {with(any, "X-User: jason"), get("GET", "/", "x-user: jason"), true},
		"no header":                               {re(with(any, "x-user: .*")), get("GET", "/"), false},
		"an empty header":                         {re(with(any, "x-user: .*")), get("GET", "/", "x-user: "), true},
		"lines of a header are one list": {with(any, "x: a,b,c"),
			get("GET", "/", "x: a", "y: 1", "X: b", "x: c"), true},
		"a line of several is not the header":          {with(any, "x: a"), get("GET", "/", "x: a", "x: b"), false},
		"an expression sees the list":                  {re(with(any, "x: a,[b]")), get("GET", "/", "x: a", "x: b"), true},
		"all headers must match":                       {with(any, "x: 1", "y: 2"), get("GET", "/", "x: 1"), false},
		"of two entries for a header the first counts": {with(any, "x: 1", "X: 2"), get("GET", "/", "x: 1"), true},
		"the host":                      {with(any, "host: cart.shop:8080"), get("GET", "/"), true},
		"a parameter":                   {asking(any, "animal=whale"), get("GET", "/?x=1&animal=whale"), true},
		"names of parameters have case": {asking(any, "animal=whale"), get("GET", "/?Animal=whale"), false},
		"the first of two parameters counts": {asking(any, "animal=whale"), get("GET", "/?animal=cat&animal=whale"),
			false},
		"parameters are decoded":                {asking(any, "q=a b&c"), get("GET", "/?%71=a+b%26c"), true},
		"what is no encoding stands for itself": {asking(any, "q=100%"), get("GET", "/?q=100%"), true},
		"a parameter without value":             {asking(any, "debug="), get("GET", "/?debug"), true},
		"an expression for a parameter":         {re(asking(any, "n=[0-9]+")), get("GET", "/?n=42"), true},
		"and the whole of it":                   {re(asking(any, "n=[0-9]+")), get("GET", "/?n=42x"), false},
		"the ten-thousandth parameter": {asking(any, "hidden=1"),
			get("GET", "/?"+strings.Repeat("a=b&", 10_000)+"hidden=1"), true},
	} {
		if _, got := CompileRoutes([]mesh.Route{rules(c.match)}).Match(c.req); got != c.want {
			t.Errorf("%s: matches = %v, want %v", what, got, c.want)
		}
	}
}

// More names than are looked up once must not make a difference.
func TestManyNames(t *testing.T) {
	var matches []mesh.Match
	for i := range 3 * slots {
		matches = append(matches, asking(with(mesh.Match{}, fmt.Sprintf("x-%d: yes", i)), fmt.Sprintf("p%d=yes", i)))
	}
	table := CompileRoutes([]mesh.Route{rules(matches...)})
	for i := range matches {
		req := get("GET", fmt.Sprintf("/?p0=no&p%d=yes", i), "x-0: no", fmt.Sprintf("x-%d: yes", i))
		if i == 0 {
			req = get("GET", "/?p0=yes", "x-0: yes")
		}
		if got := name(table, req); got != fmt.Sprint(i) {
			t.Errorf("rule %d: got %s", i, got)
		}
	}
}

// Gateway API, GRPCRouteRule.matches: characters of the service, then of the method, then headers.
func TestGRPC(t *testing.T) {
	call := func(service, call string) mesh.Match {
		return mesh.Match{Path: mesh.GRPCExact, Service: service, Call: call}
	}
	table := CompileRoutes([]mesh.Route{rules(
		with(mesh.Match{}, "x: 1", "y: 1"),
		call("", "Get"),
		call("shop.Cart", ""),
		call("shop.Cart", "Get"),
		mesh.Match{Path: mesh.GRPCRegex, Service: `shop\..*`, Call: "Put|Patch"},
		with(call("shop.Cart", ""), "x: 1"),
	)})
	for path, want := range map[string]string{
		"/shop.Cart/Get":     "3",
		"/shop.Cart/List":    "2",
		"/shop.Stock/Get":    "1",
		"/shop.Stock/Patch":  "4",
		"/shop.Cart/Put":     "2", // an exact service before an expression
		"/shop.Stock/PutAll": "none",
		"/shop.Cart/Get/x":   "none",
		"shop.Cart/Get":      "none",
		"/shop.Cart":         "none",
		"/shop.Cartage/List": "none",
	} {
		if got := name(table, get("POST", path)); got != want {
			t.Errorf("%s: rule %s, want %s", path, got, want)
		}
	}
	if got := name(table, get("POST", "/shop.Cart/List", "x: 1", "y: 1")); got != "5" {
		t.Errorf("with headers: rule %s, want 5", got)
	}
}

func TestWithoutRoutesEverythingFallsUnderThePolicy(t *testing.T) {
	policy := mesh.RequestPolicy{Retry: &mesh.Retry{Limit: 3}}
	hit, ok := Compile(&mesh.Outbound{Policy: policy}).Match(get("GET", "/x"))
	if !ok || hit.Rule.Policy != policy || hit.Rule.Ref.Kind != "default" || !hit.Rule.OwnService {
		t.Errorf("got %+v, %v", hit.Rule, ok)
	}
}

func TestOwnServiceTakesWhatARuleWithoutBackendsMatches(t *testing.T) {
	redirect := []mesh.Filter{{Redirect: &mesh.Redirect{Status: 302}}}
	backend := func(b mesh.WeightedBackend) mesh.Rule { return mesh.Rule{Backends: []mesh.WeightedBackend{b}} }
	for name, c := range map[string]struct {
		rule mesh.Rule
		want bool
	}{
		"no backends":                      {mesh.Rule{}, true},
		"no backends, but a redirect":      {mesh.Rule{Filters: redirect}, false},
		"a backend without a weight":       {backend(mesh.WeightedBackend{}), false},
		"a backend that cannot be used":    {backend(mesh.WeightedBackend{Weight: 1, Invalid: "gone"}), false},
		"a backend that takes every share": {backend(mesh.WeightedBackend{Weight: 1}), false},
	} {
		c.rule.Matches = []mesh.Match{{}}
		for _, grpc := range []bool{false, true} {
			hit, ok := CompileRoutes([]mesh.Route{{GRPC: grpc, Rules: []mesh.Rule{c.rule}}}).Match(get("GET", "/"))
			if !ok || hit.Rule.OwnService != c.want {
				t.Errorf("%s, grpc %v: got %+v, %v; want OwnService %v", name, grpc, hit.Rule, ok, c.want)
			}
		}
	}
}

func TestARouteWithoutRulesTakesNothing(t *testing.T) {
	if hit, ok := Compile(&mesh.Outbound{Routes: []mesh.Route{{}}}).Match(get("GET", "/")); ok {
		t.Errorf("got %+v", hit.Rule)
	}
}

func TestProfile(t *testing.T) {
	condition := func(method, path string) mesh.Condition { return mesh.Condition{Method: method, PathRegex: path} }
	not := condition("", "/admin.*")
	table := Compile(&mesh.Outbound{Profile: &mesh.Profile{Routes: []mesh.ProfileRoute{
		{Name: "books", Condition: condition("GET", "/books/[0-9]+")},
		{Name: "all books", Condition: condition("", "/books.*"), Retryable: true},
		{Name: "any", Condition: mesh.Condition{Any: []mesh.Condition{condition("PUT", ""), condition("", "/put")}}},
		{Name: "both", Condition: mesh.Condition{All: []mesh.Condition{condition("POST", ""), {Not: &not}}}},
	}}})
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/books/7", "books"},
		{"POST", "/books/7?x", "all books"},
		{"PUT", "/x", "any"},
		{"GET", "/put", "any"},
		{"POST", "/x", "both"},
		{"POST", "/admin/x", ""},
		{"GET", "/x", ""},
	} {
		hit, ok := table.Match(get(c.method, c.path))
		if !ok || hit.Rule.Name != c.want || !hit.Rule.OwnService {
			t.Errorf("%s %s: got %+v, %v; want %q", c.method, c.path, hit.Rule, ok, c.want)
		}
	}
	if r := table.Rules()[1].Policy.Retry; r == nil || len(r.Statuses) != 1 ||
		r.Statuses[0] != (mesh.StatusRange{First: 500, Last: 599}) {
		t.Errorf("a retryable route retries %+v", r)
	}
}

func TestResponseClasses(t *testing.T) {
	status := func(first, last uint16) mesh.ResponseCondition {
		return mesh.ResponseCondition{Status: mesh.StatusRange{First: first, Last: last}}
	}
	not := status(404, 404)
	classes := []mesh.ResponseClass{
		{Condition: status(503, 503), Failure: false},
		{Condition: mesh.ResponseCondition{All: []mesh.ResponseCondition{status(400, 499), {Not: &not}}}, Failure: true},
		{Condition: mesh.ResponseCondition{Any: []mesh.ResponseCondition{status(201, 201), status(203, 204)}}, Failure: true},
	}
	for code, want := range map[int]bool{200: false, 201: true, 202: false, 204: true, 400: true, 404: false, 500: true,
		503: false} {
		if got := Failure(classes, code); got != want {
			t.Errorf("%d: failure = %v", code, got)
		}
	}
}

// What a rule was meant for must not fall under another because the rule is broken.
func TestABrokenRuleKeepsItsRequests(t *testing.T) {
	for what, m := range map[string]mesh.Match{
		"a broken expression": regex("/a("),
		"one that is too big": regex("/a" + strings.Repeat("a?", mesh.MaxRegexBytes)),
		"a broken header": {Path: mesh.ExactPath, Value: "/a",
			Headers: []mesh.FieldMatch{{Name: "x", Value: "[", Regex: true}}},
		"a broken parameter": {Path: mesh.ExactPath, Value: "/a",
			Query: []mesh.FieldMatch{{Name: "x", Value: "[", Regex: true}}},
		"a broken call": {Path: mesh.GRPCRegex, Service: "[", Call: "B"},
	} {
		hit, ok := CompileRoutes([]mesh.Route{rules(prefix("/a"), m)}).Match(get("GET", "/a?x=1", "x: 1"))
		if what == "a broken call" {
			hit, ok = CompileRoutes([]mesh.Route{rules(mesh.Match{}, m)}).Match(get("POST", "/A/B"))
		}
		if !ok || hit.Rule.RuleIndex != 1 || !strings.Contains(hit.Rule.Invalid, "regular expression") {
			t.Errorf("%s: the request falls under %+v", what, hit.Rule)
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	table := CompileRoutes([]mesh.Route{rules(
		exact("/a"), prefix("/a/b"), regex("/a/.*/c"), asking(with(prefix("/a"), "x-user: jason"), "q=1"),
		mesh.Match{Method: "GET"},
	)})
	for _, req := range []*message.Head{get("GET", "/a"), get("GET", "/a/b/c?q=2&r=3", "X-User: jasmin"),
		get("POST", "/x")} {
		if n := alloctest.Count(t, 100, func() { table.Match(req) }); n != 0 {
			t.Errorf("%s: %v allocations", req.Path(), n)
		}
	}
}

// TestAgainstTheSpecification draws rules and requests and compares the table with the specification read word by word.
func TestAgainstTheSpecification(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	one := func(of ...string) string { return of[rng.IntN(len(of))] }
	for range 3000 {
		routes := make([]mesh.Route, 1+rng.IntN(3))
		perRoute := 4
		if rng.IntN(4) == 0 {
			perRoute = 60 // so many that headers are looked up by value
		}
		for i := range routes {
			var matches []mesh.Match
			for range 1 + rng.IntN(perRoute) {
				m := mesh.Match{Path: mesh.PathKind(rng.IntN(4)), Method: one("", "", "GET", "PUT")}
				m.Value = map[mesh.PathKind]string{
					mesh.ExactPath: one("/", "/a", "/a/b"), mesh.PrefixPath: one("/", "/a", "/a/b", "/a/b/c"),
					mesh.RegexPath: one("/a.*", "/[ab]+"),
				}[m.Path]
				for range rng.IntN(3) {
					m = with(m, one("x: 1", "x: 2", "y: 1", "z: 1"))
				}
				for range rng.IntN(3) {
					m = asking(m, one("p=1", "q=1", "r=1"))
				}
				matches = append(matches, m)
			}
			routes[i] = rules(matches...)
		}
		table := CompileRoutes(routes)
		for range 20 {
			req := get(one("GET", "PUT", "POST"), one("/", "/a", "/a/b", "/a/b/c", "/ab", "/b")+
				one("", "?p=1", "?p=1&q=1", "?r=1&q=2"))
			for _, f := range []string{"x: 1", "y: 1", "z: 2"} {
				if rng.IntN(2) == 0 {
					req.Add(f[:1], f[3:])
				}
			}
			want := slowly(routes, req)
			got := [2]int{-1, -1}
			if hit, ok := table.Match(req); ok {
				got = [2]int{hit.Rule.RouteIndex, hit.Rule.RuleIndex}
			}
			if got != want {
				t.Fatalf("%s %s: got rule %v, want %v of %+v", req.Method(), req.Path(), got, want, routes)
			}
		}
	}
}

// slowly returns the route and the rule that the specification gives the request to.
func slowly(routes []mesh.Route, req *message.Head) [2]int {
	best, at := []int(nil), [2]int{-1, -1}
	for i, route := range routes {
		for j, rule := range route.Rules {
			for _, m := range rule.Matches {
				if score, ok := slowMatch(m, req); ok && (best == nil || less(best, score)) {
					best, at = score, [2]int{i, j}
				}
			}
		}
	}
	return at
}

func less(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

func slowMatch(m mesh.Match, req *message.Head) (score []int, ok bool) {
	path, query, _ := strings.Cut(string(req.Path()), "?")
	score = make([]int, 6) // exact, expression, prefix, method, headers, parameters
	switch m.Path {
	case mesh.ExactPath:
		score[0], ok = 1, path == m.Value
	case mesh.RegexPath:
		score[1], ok = 1, regexp.MustCompile("^("+m.Value+")$").MatchString(path)
	case mesh.PrefixPath:
		score[2], ok = len(m.Value), m.Value == "/" || path == m.Value || strings.HasPrefix(path, m.Value+"/")
	default:
		score[2], ok = 1, true
	}
	if m.Method != "" {
		score[3], ok = 1, ok && m.Method == string(req.Method())
	}
	seen := map[string]bool{}
	for _, f := range m.Headers {
		if !seen[f.Name] {
			seen[f.Name] = true
			v, has := req.Get(f.Name)
			score[4]++
			ok = ok && has && string(v) == f.Value
		}
	}
	seen = map[string]bool{}
	for _, f := range m.Query {
		if !seen[f.Name] {
			seen[f.Name] = true
			score[5]++
			ok = ok && strings.Contains("&"+query+"&", "&"+f.Name+"="+f.Value+"&")
		}
	}
	return score, ok
}
