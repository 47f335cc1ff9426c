package forward

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Between proxies, two private fields carry what HTTP/2 has no place for. Both are removed from what an application
// sends. The first one also marks requests of Linkerd's proxies, see Config.RestoreHTTP1.
const (
	// origProto holds the version of a request that was HTTP/1, and "; absolute-form" if its target was in that form.
	origProto = "l5d-orig-proto"
	// upgraded marks a 200 that was a 101, and holds the protocol that the connection switched to.
	upgraded = "l5d-upgrade"

	absoluteForm = "; absolute-form"
)

func (c *h2Conn) requestBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Request
	if !c.mux || h.Version == message.HTTP2 {
		return h2.AppendBlock(dst, c.enc, h, h2.Request)
	}
	upgrade := len(h.Part(message.Protocol)) > 0
	if upgrade {
		h.SetPart(message.Method, "CONNECT") // RFC 8441 §4
	}
	dst = h2.AppendBlock(dst, c.enc, h, h2.Request)
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
	return c.enc.Append(dst, []byte(origProto), []byte(value), true)
}

func (c *h2Conn) responseBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Response
	if h.Status != 101 {
		return h2.AppendBlock(dst, c.enc, h, h2.Response)
	}
	h.Status = 200
	dst = h2.AppendBlock(dst, c.enc, h, h2.Response)
	h.Status = 101
	return c.enc.Append(dst, []byte(upgraded), h.Part(message.Protocol), false)
}

// restoreRequest undoes requestBlock. It reports whether the request is well-formed for this connection.
func (c *h2Conn) restoreRequest(fl *flight) bool {
	h := &fl.x.Request
	upgrade := len(h.Part(message.Protocol)) > 0
	orig, was1 := h.Get(origProto)
	if !c.mux {
		if was1 && c.conn.e.cfg.RestoreHTTP1 && string(h.Method()) != "CONNECT" {
			restoreVersion(h, orig)
		}
		h.Del(origProto)
		return !upgrade // extended CONNECT was not offered
	}
	if was1 {
		restoreVersion(h, orig)
		h.Del(origProto)
	}
	if upgrade {
		if !was1 {
			return false
		}
		h.SetPart(message.Method, "GET")
	}
	fl.tunnel = upgrade || string(h.Method()) == "CONNECT"
	return true
}

// restoreVersion makes a request HTTP/1 again, in the version and form that orig, a value of origProto, holds.
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

// restoreResponse undoes responseBlock.
func (c *h2Conn) restoreResponse(fl *flight) {
	h := &fl.x.Response
	token, ok := h.Get(upgraded)
	if !ok {
		return
	}
	if c.mux && fl.tunnel && h.Status == 200 && len(fl.x.Request.Part(message.Protocol)) > 0 {
		h.Status = 101
		h.Place(message.Protocol, h.Store(token))
	}
	h.Del(upgraded)
}
