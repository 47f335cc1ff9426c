package hpack

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/proxy/message"
)

type list struct {
	h      *message.Head
	fields []pair
}

func (l *list) Field(name, value message.Span) {
	l.fields = append(l.fields, pair{string(l.h.Bytes(name)), string(l.h.Bytes(value))})
}

func (l *list) Wants(name []byte) bool { return string(name) == "wanted" }

func decode(d *Decoder, block []byte, max int) ([]pair, error) {
	l := &list{h: &message.Head{}}
	err := d.Decode(block, l.h, Limits{List: max, Read: 64 << 20}, l)
	return l.fields, err
}

func TestStaticTableAndHuffmanAgreeWithTheReference(t *testing.T) {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	dec := NewDecoder()
	for i, p := range static[1:] {
		buf.Reset()
		_ = enc.WriteField(hpack.HeaderField{Name: p.name, Value: p.value})
		if p.value != "" && buf.Len() != 1 {
			t.Errorf("entry %d: the reference does not know %v", i+1, p)
		}
		if got, err := decode(dec, []byte{0x80 | byte(i+1)}, 1<<20); err != nil || got[0] != p {
			t.Errorf("entry %d: got %v, %v, want %v", i+1, got, err, p)
		}
	}
	var every []byte
	for c := range 256 {
		every = append(every, byte(c))
	}
	got, err := appendHuffman(nil, hpack.AppendHuffmanString(nil, string(every)))
	if err != nil || !bytes.Equal(got, every) {
		t.Errorf("Huffman of every byte: %v, got %x", err, got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, block := range map[string][]byte{
		"index 0":                              {0x80},
		"an index beyond the tables":           {0x80 | 62},
		"a table size beyond what was allowed": {0x3f, 0xe2, 0x1f},
		"a table size after a field":           {0x82, 0x20},
		"an integer that never ends":           {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a string longer than the block":       {0x00, 0x05, 'a'},
		"a missing value":                      {0x00, 0x01, 'a'},
		"EOS in a Huffman string":              {0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00},
		"Huffman padding longer than 7 bits":   {0x00, 0x82, 0x1f, 0xff, 0x00},
		"Huffman padding of zeros":             {0x00, 0x81, 0x18, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decode(NewDecoder(), block, 1<<20); !errors.Is(err, ErrCompression) {
				t.Errorf("got %v, %v; want ErrCompression", got, err)
			}
		})
	}
}

func TestTooLargeKeepsTheTablesInStep(t *testing.T) {
	for name, large := range map[string]hpack.HeaderField{
		"an entry of the table":    {Name: "x-large", Value: strings.Repeat("v", 3000)},
		"larger than the table":    {Name: "x-large", Value: strings.Repeat("v", 300<<10)},
		"Huffman does not help it": {Name: "x-large", Value: strings.Repeat("\x01", 300<<10)},
		"never indexed":            {Name: "x-large", Value: strings.Repeat("v", 300<<10), Sensitive: true},
		"a large name":             {Name: strings.Repeat("n", 300<<10), Value: "v"},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			enc := hpack.NewEncoder(&buf)
			_ = enc.WriteField(hpack.HeaderField{Name: "x-before", Value: "1"})
			_ = enc.WriteField(large)
			_ = enc.WriteField(hpack.HeaderField{Name: "x-small", Value: "1"})
			_ = enc.WriteField(hpack.HeaderField{Name: "wanted", Value: "1"})
			_ = enc.WriteField(hpack.HeaderField{Name: "wanted", Value: strings.Repeat("v", 1000)})
			d := NewDecoder()
			want := []pair{{"x-before", "1"}, {"wanted", "1"}}
			if got, err := decode(d, buf.Bytes(), 1000); !errors.Is(err, ErrTooLarge) || !slices.Equal(got, want) {
				t.Fatalf("got %v, %v; want %v, ErrTooLarge", got, err, want)
			}
			buf.Reset()
			_ = enc.WriteField(hpack.HeaderField{Name: "x-small", Value: "1"})
			_ = enc.WriteField(hpack.HeaderField{Name: "wanted", Value: "1"})
			if got, err := decode(d, buf.Bytes(), 1000); err != nil ||
				!slices.Equal(got, []pair{{"x-small", "1"}, {"wanted", "1"}}) {
				t.Errorf("after it: got %v, %v", got, err)
			}
		})
	}
}

// A bomb refers to one large entry many times. The limits must bound memory and work.
func TestBombIsBounded(t *testing.T) {
	var buf bytes.Buffer
	_ = hpack.NewEncoder(&buf).WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("v", 3900)})
	block := append(buf.Bytes(), bytes.Repeat([]byte{0x80 | 62}, 60000)...)
	for read, want := range map[int]error{1 << 20: ErrBomb, 1 << 30: ErrTooLarge} {
		l := &list{h: &message.Head{}}
		if err := NewDecoder().Decode(block, l.h, Limits{List: 64 << 10, Read: read}, l); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if n := cap(l.h.Arena()); n > 256<<10 {
			t.Errorf("the arena grew to %d bytes", n)
		}
	}
}

func TestEncodeAllocatesNothing(t *testing.T) {
	e, d := NewEncoder(), NewDecoder()
	var h message.Head
	dst := make([]byte, 0, 4096)
	sink := discard{}
	n := alloctest.Count(t, 1000, func() {
		h.Reset()
		dst = e.Begin(dst[:0])
		dst = e.Append(dst, []byte(":method"), []byte("GET"), false)
		dst = e.Append(dst, []byte(":authority"), []byte("shop.example:8080"), false)
		dst = e.Append(dst, []byte(":path"), []byte("/cart?id=1"), false)
		dst = e.Append(dst, []byte("user-agent"), []byte("wrk"), false)
		dst = e.Append(dst, []byte("x-request-id"), []byte("0123456789"), false)
		if err := d.Decode(dst, &h, Limits{64 << 10, 1 << 20}, sink); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a header list, want 0", n)
	}
}

type discard struct{}

func (discard) Field(_, _ message.Span) {}

func (discard) Wants([]byte) bool { return false }

// FuzzDecode compares with the reference: the same list, or an error from both, except for what we refuse on purpose.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff})
	f.Add([]byte{0x82, 0x86, 0x8c, 0x30})
	f.Add([]byte{0x40, 0x01, 'a', 0x01, 'b', 0xbe, 0x20, 0x3f, 0xe1, 0x1f})
	f.Fuzz(func(t *testing.T, block []byte) {
		if len(block) > 4<<10 {
			return
		}
		ref := hpack.NewDecoder(4096, nil)
		ref.SetAllowedMaxDynamicTableSize(4096)
		wants, werr := ref.DecodeFull(block)
		got, err := decode(NewDecoder(), block, 64<<20)
		if errors.Is(err, errLateUpdate) || errors.Is(err, errInteger) {
			return
		}
		if (err != nil) != (werr != nil) {
			t.Fatalf("error %v, the reference says %v", err, werr)
		}
		if err != nil {
			return
		}
		for i, want := range wants {
			if i >= len(got) || got[i] != (pair{want.Name, want.Value}) {
				t.Fatalf("field %d of %v, want %v", i, got, want)
			}
		}
	})
}

// FuzzEncode sends lists through both decoders. It sends several blocks, so that the tables fill, and changes the
// table's size between them.
func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), uint16(4096))
	f.Add(uint64(7), uint16(100))
	f.Add(uint64(9), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, max uint16) {
		rng := rand.New(rand.NewPCG(seed, 1))
		names := []string{"user-agent", "x-a", ":authority", "content-type", "te", "cookie", ":path", "grpc-encoding"}
		e, d, ref := NewEncoder(), NewDecoder(), hpack.NewDecoder(4096, nil)
		for range 20 {
			if rng.IntN(5) == 0 {
				e.SetMax(uint32(max))
			}
			if rng.IntN(10) == 0 {
				e.SetMax(4096)
			}
			var want []pair
			block := e.Begin(nil)
			for range rng.IntN(12) {
				p := pair{names[rng.IntN(len(names))], strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(150))}
				block = e.Append(block, []byte(p.name), []byte(p.value), rng.IntN(2) == 0)
				want = append(want, p)
			}
			got, err := decode(d, block, 1<<20)
			wants, werr := ref.DecodeFull(block)
			if err != nil || werr != nil || len(got) != len(want) || len(wants) != len(want) {
				t.Fatalf("%d and %d fields of %d, errors %v and %v", len(got), len(wants), len(want), err, werr)
			}
			for i, p := range want {
				if got[i] != p || wants[i].Name != p.name || wants[i].Value != p.value {
					t.Fatalf("field %d: got %v, reference %v, want %v", i, got[i], wants[i], p)
				}
			}
		}
	})
}

func TestTableThatShrinksAndGrowsBetweenBlocksIsEmptiedOnBothSides(t *testing.T) {
	e, d := NewEncoder(), NewDecoder()
	name, value := []byte("user-agent"), []byte("a")
	read := func(block []byte) {
		t.Helper()
		got, err := decode(d, block, 1<<20)
		if want := []pair{{"user-agent", "a"}}; err != nil || !slices.Equal(got, want) {
			t.Fatalf("block %x is %v, want %v: %v", block, got, want, err)
		}
	}
	read(e.Append(e.Begin(nil), name, value, true))
	e.SetMax(100)
	e.SetMax(4096)
	block := e.Begin(nil)
	if want := appendInt([]byte{0x20}, 0x20, 5, encoderTable); string(block) != string(want) {
		t.Errorf("the block begins with %x, want %x: no more than the smallest size, then the present one", block, want)
	}
	read(e.Append(block, name, value, true))
	if block := e.Begin(nil); len(block) != 0 {
		t.Errorf("the next block begins with %x", block)
	}
}
