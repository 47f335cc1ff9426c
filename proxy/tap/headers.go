package tap

import (
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Bounds of one event: a head may have a megabyte.
const (
	maxText    = 2048
	maxFields  = 64
	fieldsSize = 8 << 10
)

// Redacted is what a watcher sees in place of a secret value.
const Redacted = "[redacted]"

// secretHeaders are the headers whose values give access to something. Source: RFC 9110 §11, RFC 6265 §4.
var secretHeaders = [...]string{"authorization", "proxy-authorization", "cookie", "set-cookie"}

// fields copies the field lines of a head. It leaves out those beyond the bounds and counts them.
func (h *Hub) fields(head *message.Head) (out []mesh.TapHeader, omitted uint32) {
	size := 0
	for name, value := range head.All() {
		if len(out) >= maxFields || size >= fieldsSize {
			omitted++
			continue
		}
		f := mesh.TapHeader{Name: text(name), Value: Redacted}
		if !h.secret(name) {
			f.Value = text(value)
		}
		size += len(f.Name) + len(f.Value)
		out = append(out, f)
	}
	return out, omitted
}

func (h *Hub) secret(name []byte) bool {
	for _, s := range secretHeaders {
		if message.EqualFold(name, s) {
			return true
		}
	}
	for _, s := range h.redacted {
		if message.EqualFold(name, s) {
			return true
		}
	}
	return false
}

// text copies bytes of a head. It cuts what is too long.
func text(b []byte) string {
	if len(b) > maxText {
		return string(b[:maxText]) + "…"
	}
	return string(b)
}
