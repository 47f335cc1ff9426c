package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// clientIDHeader has the identity that the client of a request proved to the pod's proxy. The proxy overwrites what the
// client sends in it.
const clientIDHeader = "L5d-Client-Id"

const (
	// maxName bounds the name of a user or a group, in bytes.
	maxName = 256
	// reservedPrefix begins the names of users and groups that Kubernetes reserves for itself.
	reservedPrefix = "system:"
)

// Credentials are a viewer's bearer token, or the name that an authenticating proxy vouches for. Exactly one of Token
// and User is set.
type Credentials struct {
	Token string
	// User is impersonated, with Groups.
	User   string
	Groups []string
}

// Impersonation says whose headers name viewers.
type Impersonation struct {
	// Client is the identity of the authenticating proxy, as in spiffe://cluster.local/ns/auth/sa/oauth2-proxy.
	Client string
	// UserHeader has the name of the user, and GroupsHeader the groups, with commas between them.
	UserHeader, GroupsHeader string
	// Groups are the groups that viewers may have. Others are ignored.
	Groups []string
}

// bearer returns the bearer token of a request; false if it has none, or several.
func bearer(r *http.Request) (Credentials, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return Credentials{}, false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsFunc(token, func(c rune) bool {
		return c <= ' ' || c > '~'
	}) {
		return Credentials{}, false
	}
	return Credentials{Token: token}, true
}

// read returns the user and the groups in the headers of a request; false if the authenticating proxy did not send it.
// A nil Impersonation reads none.
func (i *Impersonation) read(r *http.Request) (Credentials, bool) {
	if i == nil || !i.vouches(r) {
		return Credentials{}, false
	}
	users := r.Header.Values(i.UserHeader)
	if len(users) != 1 || !isName(users[0]) {
		return Credentials{}, false
	}
	c := Credentials{User: users[0]}
	for _, value := range r.Header.Values(i.GroupsHeader) {
		for group := range strings.SplitSeq(value, ",") {
			group = strings.TrimSpace(group)
			if isName(group) && slices.Contains(i.Groups, group) && !slices.Contains(c.Groups, group) {
				c.Groups = append(c.Groups, group)
			}
		}
	}
	slices.Sort(c.Groups)
	return c, true
}

// vouches reports whether the authenticating proxy sent a request. clientIDHeader can be trusted only if the request
// came through this pod's own proxy, which connects from the pod's address to the same address.
func (i *Impersonation) vouches(r *http.Request) bool {
	ids := r.Header.Values(clientIDHeader)
	return len(ids) == 1 && ids[0] == i.Client && fromOwnProxy(r)
}

// fromOwnProxy reports whether a request came from the pod's own address. The loopback address does not count: a
// port-forward connects from there without the proxy, and its user can write any header.
func fromOwnProxy(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || from.Addr().Unmap().IsLoopback() {
		return false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	to, err := netip.ParseAddrPort(local.String())
	return err == nil && to.Addr().Unmap() == from.Addr().Unmap()
}

// isName reports whether a text can be the name of a user or a group of an identity provider.
func isName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.HasPrefix(name, reservedPrefix) &&
		!strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) })
}
