package route

import (
	"bytes"
	"cmp"
	"strconv"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Location returns the URL to which r redirects the request. port is the port of the original destination. If neither r
// nor the request names a host, the URL is a path. Source: Gateway API, HTTPRequestRedirectFilter.port.
func Location(r *mesh.Redirect, h *message.Head, hit Hit, port uint16) string {
	scheme := cmp.Or(r.Scheme, string(bytes.ToLower(h.Part(message.Scheme))), "http")
	host := r.Host
	if host == "" {
		host = string(hostOf(h.Authority()))
	}
	switch {
	case r.Port != 0:
		port = r.Port
	case r.Scheme != "":
		port = cmp.Or(wellKnown(r.Scheme), port)
	}
	var out []byte
	if host != "" {
		out = append(append(append(out, scheme...), "://"...), host...)
		if port != wellKnown(scheme) {
			out = strconv.AppendUint(append(out, ':'), uint64(port), 10)
		}
	}
	switch path := h.Path(); {
	case !isPath(path):
		out = append(out, '/')
	case r.Path != nil:
		out = append(out, appendPath(nil, path, hit.prefix, r.Path)...)
	default:
		out = append(out, path...)
	}
	return string(out)
}

// wellKnown returns the port that a scheme implies; 0 for none.
func wellKnown(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	default:
		return 0
	}
}

// hostOf returns an authority without its port.
func hostOf(authority []byte) []byte {
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 && bytes.IndexByte(authority[i:], ']') < 0 {
		return authority[:i]
	}
	return authority
}
