// Package hpack compresses and decompresses header lists, RFC 7541.
//
// It owns the static and dynamic tables and the string codings. It imports proxy/message only. The one idea: names and
// values stay ranges of byte arenas, so that a header list costs no allocation. The decoder writes into a message.Head,
// and the encoder appends to the connection's buffer. The encoder indexes only names whose values repeat (an
// allow-list), in a table of 2 KiB. It never uses Huffman coding: that costs time and saves bytes, which a pod network
// does not lack.
package hpack

import "errors"

// ErrCompression means that a header block cannot be decoded. The connection's tables are out of step: RFC 9113 §4.3
// requires COMPRESSION_ERROR.
var ErrCompression = errors.New("hpack: invalid header block")
