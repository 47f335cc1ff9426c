package replay

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

func TestBufferHoldsWholeBodiesOnly(t *testing.T) {
	half := bytes.Repeat([]byte("x"), Limit/2)
	for name, test := range map[string]struct {
		parts   [][]byte
		max     int
		dropped string
		left    int
	}{
		"a body within both bounds":             {[][]byte{half, half}, 1 << 20, "", Limit},
		"a body beyond Limit":                   {[][]byte{half, half, []byte("y")}, 1 << 20, exchange.BodyTooLarge, 0},
		"bodies beyond the memory of all":       {[][]byte{half}, 1 << 10, exchange.BuffersFull, 0},
		"what comes after the copy was dropped": {[][]byte{half, half, half, []byte("y")}, 1 << 20, exchange.BodyTooLarge, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m, b := Memory{Max: test.max}, Buffer{}
			if b.Append(half, &m); b.Active() || m.Used != 0 {
				t.Fatal("it copies before Start")
			}
			b.Start()
			for _, p := range test.parts {
				b.Append(p, &m)
			}
			got := len(slices.Concat(slices.Collect(b.All())...))
			if b.Dropped() != test.dropped || got != test.left || b.Active() != (test.dropped == "") {
				t.Errorf("dropped %q, %d bytes; want %q, %d", b.Dropped(), got, test.dropped, test.left)
			}
			if b.Start() != (test.dropped == "") {
				t.Error("a copy that was dropped for a reason began again, or another did not")
			}
			if b.Drop("", &m); m.Used != 0 {
				t.Errorf("memory after Drop: %d", m.Used)
			}
		})
	}
}
