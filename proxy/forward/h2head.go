package forward

import (
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

func (c *h2Conn) requestBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Request
	if !c.mux || h.Version == message.HTTP2 {
		return h2.AppendBlock(dst, c.enc, h, h2.Request)
	}
	return h2.AppendHTTP1Request(dst, c.enc, h)
}

func (c *h2Conn) responseBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Response
	if h.Status == 101 {
		return h2.AppendSwitching(dst, c.enc, h)
	}
	return h2.AppendBlock(dst, c.enc, h, h2.Response)
}

// restoreRequest undoes requestBlock. It reports whether the request is well-formed for this connection.
func (c *h2Conn) restoreRequest(fl *flight) (ok bool) {
	if !c.mux {
		return h2.RestoreRequest(&fl.x.Request, c.conn.e.cfg.RestoreHTTP1)
	}
	fl.tunnel, ok = h2.RestoreMuxRequest(&fl.x.Request)
	return ok
}

// restoreResponse undoes responseBlock.
func (c *h2Conn) restoreResponse(fl *flight) {
	h2.RestoreResponse(&fl.x.Response, c.mux && fl.tunnel && len(fl.x.Request.Part(message.Protocol)) > 0)
}
