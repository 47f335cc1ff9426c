package inbound

import (
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// setClientID replaces what a peer claims about its identity by the one that it proved. CGI and its successors turn all
// characters of a name but letters and digits into underscores, so setClientID removes every such spelling.
func setClientID(h *message.Head, client stats.Client) {
	h.DelFunc(func(name, _ []byte) bool { return isClientID(name) })
	if client.Name != "" {
		h.Add(clientIDField, client.Name)
	}
}

const clientIDField = "l5d-client-id"

func isClientID(name []byte) bool {
	if len(name) != len(clientIDField) {
		return false
	}
	for i, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		default:
			c = '-'
		}
		if c != clientIDField[i] {
			return false
		}
	}
	return true
}
