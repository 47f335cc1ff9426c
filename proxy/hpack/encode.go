package hpack

const (
	// encoderTable is how much of the peer's table the encoder uses: a linear search finds an entry among its sixty.
	encoderTable = 2048
	// maxIndexed is the length of the longest name and value that get an entry.
	maxIndexed = 256
)

// Encoder encodes the header blocks of one direction of a connection, in order. Make one with NewEncoder.
type Encoder struct {
	table  table
	update bool // the next block must begin with the table's size
	least  int  // the smallest size of the table since the last block
}

// NewEncoder returns an encoder for a peer with the initial settings.
func NewEncoder() *Encoder {
	return &Encoder{table: table{max: encoderTable}, update: true, least: encoderTable}
}

// SetMax applies the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *Encoder) SetMax(max uint32) {
	if size := int(min(max, encoderTable)); size != e.table.max {
		e.table.resize(size)
		e.update, e.least = true, min(e.least, size)
	}
}

// Begin appends the beginning of a header block: the size of the table if it changed, so that the peer drops the same
// entries. If the table was smaller in between, that size comes first (RFC 7541 §4.2). That first size is then 0 and
// empties the table, because Go's decoder accepts a second update only with an empty table.
func (e *Encoder) Begin(dst []byte) []byte {
	if !e.update {
		return dst
	}
	if size := e.table.max; e.least < size {
		e.table.resize(0)
		e.table.resize(size)
		dst = append(dst, 0x20)
	}
	e.update, e.least = false, e.table.max
	return appendInt(dst, 0x20, 5, e.table.max)
}

// Append appends a field. The name must be lower-case. index means that the field gets an entry of the table although
// its name is not in the allow-list.
func (e *Encoder) Append(dst, name, value []byte, index bool) []byte {
	s, exact := staticIndex(name, value)
	if exact {
		return appendInt(dst, 0x80, 7, s)
	}
	if !index && !repeats(s, name) || len(name)+len(value) > maxIndexed || e.table.max == 0 {
		return appendLiteral(dst, 0, 4, s, name, value)
	}
	hash := hashField(name, value)
	if i := e.find(hash, name, value); i >= 0 {
		return appendInt(dst, 0x80, 7, len(static)+i)
	}
	if n := e.table.add(name, value); n != nil {
		n.hash = hash
	}
	return appendLiteral(dst, 0x40, 6, s, name, value)
}

// repeats is the allow-list: names that have few values on one connection and no secret ones (RFC 7541 §7.1.3). s is
// the name's static index, or 0.
func repeats(s int, name []byte) bool {
	switch s {
	case 1, 15, 16, 17, 19, 26, 31, 54, 58:
		// :authority, accept-*, accept, content-encoding, content-type, server, user-agent
		return true
	case 0:
		switch string(name) {
		case "te", "grpc-accept-encoding", "grpc-encoding", "grpc-status", "l5d-orig-proto", "x-forwarded-proto",
			"x-powered-by",
			"x-content-type-options", "x-envoy-upstream-service-time", "trailer":
			return true
		}
	}
	return false
}

func (e *Encoder) find(hash uint32, name, value []byte) int {
	t := &e.table
	for i := range t.count {
		n := t.at(i)
		if n.hash == hash && string(t.nameOf(n)) == string(name) && string(t.valueOf(n)) == string(value) {
			return i
		}
	}
	return -1
}

// hashField returns the FNV-1a hash of a field. A collision only costs a longer comparison.
func hashField(name, value []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(c)) * 16777619
	}
	for _, c := range value {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

func appendLiteral(dst []byte, first byte, prefix, nameIndex int, name, value []byte) []byte {
	dst = appendInt(dst, first, prefix, nameIndex)
	if nameIndex == 0 {
		dst = append(appendInt(dst, 0, 7, len(name)), name...)
	}
	return append(appendInt(dst, 0, 7, len(value)), value...)
}

// appendInt appends an integer with a prefix of n bits, RFC 7541 §5.1; first holds the bits before it.
func appendInt(dst []byte, first byte, n, value int) []byte {
	mask := 1<<n - 1
	if value < mask {
		return append(dst, first|byte(value))
	}
	dst = append(dst, first|byte(mask))
	for value -= mask; value >= 0x80; value >>= 7 {
		dst = append(dst, byte(value)|0x80)
	}
	return append(dst, byte(value))
}
