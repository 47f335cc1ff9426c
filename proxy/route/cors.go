package route

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// CORS is the compiled form of a mesh.CORS. Source: Gateway API HTTPCORSFilter, WHATWG Fetch §3.2.
type CORS struct {
	origins     []origin
	credentials bool
	constant    bool // every origin gets the same answer: "*"

	methods, headers, expose string // as fields list them; "*" for any, "" for none
	maxAge                   string // seconds
}

// origin is a pattern of origins. The zero origin matches all, "null" included.
type origin struct {
	scheme string
	host   string // without "*"
	wild   bool   // host is a suffix
	port   string
}

// defaultMaxAge is how long browsers may cache a preflight's answer if the filter does not say.
const defaultMaxAge = 5 * time.Second

func compileCORS(c *mesh.CORS) (*CORS, error) {
	out := &CORS{
		credentials: c.AllowCredentials,
		methods:     joinNames(c.AllowMethods), headers: joinNames(c.AllowHeaders), expose: joinNames(c.ExposeHeaders),
		maxAge: strconv.FormatInt(int64(cmp.Or(c.MaxAge, defaultMaxAge)/time.Second), 10),
	}
	for _, s := range c.AllowOrigins {
		o, ok := parseOrigin(s)
		if !ok && s != "*" {
			return out, fmt.Errorf("CORS: %q is not an origin", s)
		}
		out.origins = append(out.origins, o)
	}
	out.constant = !c.AllowCredentials && slices.Contains(out.origins, origin{})
	for _, s := range []string{out.methods, out.headers, out.expose} {
		if !message.IsFieldValue([]byte(s)) {
			return out, fmt.Errorf("CORS: %q is not a list of names", s)
		}
	}
	return out, nil
}

// joinNames renders names as a field's value. "*" replaces the others.
func joinNames(names []string) string {
	if slices.Contains(names, "*") {
		return "*"
	}
	return strings.Join(names, ", ")
}

// parseOrigin reads scheme://host or scheme://host:port, where the host may begin with "*".
func parseOrigin(s string) (o origin, ok bool) {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme == "" || rest == "" {
		return origin{}, false
	}
	o = origin{scheme: scheme, host: string(hostOf([]byte(rest)))}
	o.port = strings.TrimPrefix(rest[len(o.host):], ":")
	if n := wellKnown(scheme); o.port == strconv.Itoa(int(n)) {
		o.port = ""
	}
	o.host, o.wild = strings.CutPrefix(o.host, "*")
	return o, message.IsHost([]byte(rest)) && !strings.Contains(o.host, "*")
}

func (c *CORS) allows(value string) bool {
	o, parsed := parseOrigin(value)
	for _, p := range c.origins {
		if p == (origin{}) {
			return true
		}
		if !parsed || o.wild || p.scheme != o.scheme || p.port != o.port {
			continue
		}
		if p.host == o.host || p.wild && len(o.host) > len(p.host) && strings.HasSuffix(o.host, p.host) {
			return true
		}
	}
	return false
}

// Preflight reports whether the request is a CORS preflight, and if so fills in the response except for its status. If
// allowed is false, the response lacks the fields that permit the request.
func (c *CORS) Preflight(req, res *message.Head) (preflight, allowed bool) {
	asked, ok := req.Get("access-control-request-method")
	from, cross := req.Get("origin")
	if !ok || !cross || string(req.Method()) != "OPTIONS" {
		return false, false
	}
	if allowed = c.allows(string(from)); !allowed {
		vary(res)
		return true, false
	}
	c.allow(res, string(from))
	c.setAllowed(res, "access-control-allow-methods", c.methods, string(asked))
	wanted, _ := req.Get("access-control-request-headers")
	c.setAllowed(res, "access-control-allow-headers", c.headers, string(wanted))
	res.Set("access-control-max-age", c.maxAge)
	return true, true
}

// setAllowed sets a field to what is allowed. With credentials, "*" would be a literal name, so the field is set to
// what was asked for.
func (c *CORS) setAllowed(res *message.Head, name, allowed, asked string) {
	if allowed == "*" && c.credentials {
		allowed = asked
	}
	if allowed != "" {
		res.Set(name, allowed)
	}
}

// Mark adds the fields that let the requesting page read the response.
func (c *CORS) Mark(req, res *message.Head) {
	from, cross := req.Get("origin")
	if !cross || !c.allows(string(from)) {
		if !c.constant {
			vary(res)
		}
		return
	}
	c.allow(res, string(from))
	if c.expose != "" && (c.expose != "*" || !c.credentials) {
		res.Set("access-control-expose-headers", c.expose)
	}
}

func (c *CORS) allow(res *message.Head, from string) {
	if c.constant {
		from = "*"
	} else {
		vary(res)
	}
	res.Set("access-control-allow-origin", from)
	if c.credentials {
		res.Set("access-control-allow-credentials", "true")
	} else {
		res.Del("access-control-allow-credentials")
	}
}

// vary keeps caches from giving the response for one origin to another.
func vary(res *message.Head) {
	for name, value := range res.All() {
		if message.EqualFold(name, "vary") && (message.HasToken(value, "origin") || message.HasToken(value, "*")) {
			return
		}
	}
	res.Add("vary", "Origin")
}
