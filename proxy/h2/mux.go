package h2

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/hpack"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Between proxies, HTTP/1 messages travel as HTTP/2 streams; the far proxy restores them. Two private fields carry what
// HTTP/2 cannot express. Both are removed from messages of applications.
const (
	// OrigProto holds the version of an HTTP/1 request, and "; absolute-form" if its target was in that form. Linkerd's
	// proxies send it too.
	OrigProto = "l5d-orig-proto"
	// Upgraded marks a 200 that was a 101, and holds the protocol after the switch.
	Upgraded = "l5d-upgrade"

	absoluteForm = "; absolute-form"
)

// AppendHTTP1Request appends the header list of an HTTP/1 request, for a proxy of the mesh. An upgrade becomes an
// extended CONNECT (RFC 8441 §4).
func AppendHTTP1Request(dst []byte, enc *hpack.Encoder, h *message.Head) []byte {
	upgrade := len(h.Part(message.Protocol)) > 0
	if upgrade {
		h.SetPart(message.Method, "CONNECT")
	}
	dst = AppendBlock(dst, enc, h, Request)
	if upgrade {
		h.SetPart(message.Method, "GET")
	}
	value := "HTTP/1.1"
	switch {
	case h.Version == message.HTTP10 && h.Absolute:
		value = "HTTP/1.0" + absoluteForm
	case h.Version == message.HTTP10:
		value = "HTTP/1.0"
	case h.Absolute:
		value = "HTTP/1.1" + absoluteForm
	}
	return enc.Append(dst, []byte(OrigProto), []byte(value), true)
}

// RestoreMuxRequest undoes AppendHTTP1Request. tunnel reports whether the request opens a tunnel. ok reports whether
// the request is well-formed: an extended CONNECT must have been HTTP/1.
func RestoreMuxRequest(h *message.Head) (tunnel, ok bool) {
	upgrade := len(h.Part(message.Protocol)) > 0
	orig, was1 := h.Get(OrigProto)
	if was1 {
		restoreVersion(h, orig)
		h.Del(OrigProto)
	}
	if upgrade {
		if !was1 {
			return false, false
		}
		h.SetPart(message.Method, "GET")
	}
	return upgrade || string(h.Method()) == "CONNECT", true
}

// RestoreRequest removes OrigProto from a request that no proxy of this mesh sent. If linkerd is set, a request that
// Linkerd's proxies mark becomes HTTP/1 again. ok is false for an extended CONNECT, because the proxy did not offer it.
func RestoreRequest(h *message.Head, linkerd bool) (ok bool) {
	if orig, was1 := h.Get(OrigProto); was1 && linkerd && string(h.Method()) != "CONNECT" {
		restoreVersion(h, orig)
	}
	h.Del(OrigProto)
	return len(h.Part(message.Protocol)) == 0
}

// restoreVersion makes a request HTTP/1 again, in the version and form of orig, a value of OrigProto.
func restoreVersion(h *message.Head, orig []byte) {
	h.Version = message.HTTP11
	if bytes.HasPrefix(orig, []byte("HTTP/1.0")) {
		h.Version = message.HTTP10
	}
	scheme := h.Part(message.Scheme)
	h.Absolute = bytes.HasSuffix(orig, []byte(absoluteForm)) &&
		len(h.Authority()) > 0 && bytes.HasPrefix(h.Path(), []byte("/")) &&
		(message.EqualFold(scheme, "http") || message.EqualFold(scheme, "https")) // as package h1 reads it
}

// AppendSwitching appends the header list of a 101 for a proxy of the mesh. HTTP/2 has no 101: it travels as a 200.
func AppendSwitching(dst []byte, enc *hpack.Encoder, h *message.Head) []byte {
	h.Status = 200
	dst = AppendBlock(dst, enc, h, Response)
	h.Status = 101
	return enc.Append(dst, []byte(Upgraded), h.Part(message.Protocol), false)
}

// RestoreResponse undoes AppendSwitching if upgrade is set: the request asked a proxy of the mesh to upgrade. Otherwise
// it only removes Upgraded.
func RestoreResponse(h *message.Head, upgrade bool) {
	token, ok := h.Get(Upgraded)
	if !ok {
		return
	}
	if upgrade && h.Status == 200 {
		h.Status = 101
		h.Place(message.Protocol, h.Store(token))
	}
	h.Del(Upgraded)
}
