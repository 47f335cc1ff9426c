package hpack

const (
	entryOverhead = 32   // RFC 7541 §4.1
	maxTable      = 4096 // the size that a peer may use, and the initial one of RFC 9113 §6.5.2
	maxEntries    = maxTable / entryOverhead
)

// table is a dynamic table, RFC 7541 §2.3.2: a ring of entries over an arena that grows at its end.
// It holds no memory until the first entry.
type table struct {
	entries []entry // ring of maxEntries
	first   int     // position of the newest entry
	count   int
	size    int
	max     int
	arena   []byte
}

type entry struct {
	off         int
	name, value uint16 // lengths
	hash        uint32 // of name and value, for the encoder's search
}

// at returns entry i; entry 0 is the newest.
func (t *table) at(i int) *entry { return &t.entries[(t.first+i)&(maxEntries-1)] }

func (t *table) nameOf(e *entry) []byte { return t.arena[e.off : e.off+int(e.name)] }

func (t *table) valueOf(e *entry) []byte {
	return t.arena[e.off+int(e.name) : e.off+int(e.name)+int(e.value)]
}

// resize sets the maximum and evicts the entries that exceed it.
func (t *table) resize(max int) {
	t.max = max
	t.evict(0)
}

func (t *table) evict(need int) {
	for t.count > 0 && t.size+need > t.max {
		e := t.at(t.count - 1)
		t.size -= int(e.name) + int(e.value) + entryOverhead
		t.count--
	}
	if t.count == 0 {
		t.arena = t.arena[:0]
	}
}

// add makes name and value the newest entry and returns it. They must not lie in the table's own arena. An entry larger
// than the table empties the table and is dropped: RFC 7541 §4.4.
func (t *table) add(name, value []byte) *entry {
	need := len(name) + len(value) + entryOverhead
	if need > t.max {
		t.evict(t.max + 1)
		return nil
	}
	t.evict(need)
	if t.entries == nil {
		t.entries = make([]entry, maxEntries)
	}
	if len(t.arena)+len(name)+len(value) > cap(t.arena) {
		t.compact()
	}
	off := len(t.arena)
	t.arena = append(append(t.arena, name...), value...)
	t.first = (t.first - 1) & (maxEntries - 1)
	t.count++
	t.size += need
	e := t.at(0)
	*e = entry{off: off, name: uint16(len(name)), value: uint16(len(value))}
	return e
}

// compact moves the live entries, which are contiguous, to the start of the arena once at least half of it is dead.
func (t *table) compact() {
	if t.count == 0 {
		return
	}
	dead := t.at(t.count - 1).off
	if dead < len(t.arena)/2 {
		return
	}
	t.arena = t.arena[:copy(t.arena, t.arena[dead:])]
	for i := range t.count {
		t.at(i).off -= dead
	}
}
