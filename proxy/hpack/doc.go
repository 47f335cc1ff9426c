// Package hpack compresses and decompresses header lists, RFC 7541.
//
// It owns the static and dynamic tables and the string codings. It imports proxy/message only. The one idea: names and
// values are ranges of byte arenas from the wire to the wire, so that a header list costs no allocation: the decoder
// writes into a message.Head, the encoder appends to the connection's buffer. The encoder indexes only names whose
// values repeat (an allow-list) in a table of 2 KiB and never uses Huffman coding, which saves bytes that a pod network
// has in plenty and costs time.
package hpack

import "errors"

// ErrCompression is a header block that cannot be decoded. The connection's tables are out of step: RFC 9113 §4.3 wants
// COMPRESSION_ERROR.
var ErrCompression = errors.New("hpack: invalid header block")
