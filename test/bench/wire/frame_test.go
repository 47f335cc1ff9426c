package wire_test

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/bench/wire"
)

func TestFramesAreWhatAnotherImplementationReads(t *testing.T) {
	b := wire.AppendStart(nil)
	b = wire.Append(b, wire.Headers, wire.EndHeaders, 1, wire.Request("app.bench", "/bench.Echo/Call"))
	b = wire.Append(b, wire.Data, wire.EndStream, 1, []byte("hello"))
	framer := http2.NewFramer(nil, bytes.NewReader(b))
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var got []http2.FrameType
	for range 4 {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Header().Type)
		if meta, ok := f.(*http2.MetaHeadersFrame); ok {
			if path := meta.PseudoValue("path"); path != "/bench.Echo/Call" {
				t.Errorf("path %q", path)
			}
		}
	}
	want := []http2.FrameType{http2.FrameSettings, http2.FrameWindowUpdate, http2.FrameHeaders, http2.FrameData}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("frame %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestNextWaitsForTheWholeFrame(t *testing.T) {
	b := wire.Append(nil, wire.Data, wire.EndStream, 3, []byte("hello"))
	for cut := range b {
		if _, _, ok := wire.Next(b[:cut]); ok {
			t.Errorf("a frame in %d of %d bytes", cut, len(b))
		}
	}
	f, rest, ok := wire.Next(append(b, 'x'))
	if !ok || f.Stream != 3 || string(f.Body()) != "hello" || string(rest) != "x" {
		t.Errorf("got %+v, rest %q, ok %v", f, rest, ok)
	}
}

func TestWindowsFollowSettings(t *testing.T) {
	w := wire.NewWindows()
	f, _, _ := wire.Next(wire.AppendStart(nil))
	if change := w.Setting(f.Payload); change != wire.StreamWindow-wire.DefaultWindow || w.Initial != wire.StreamWindow {
		t.Errorf("change %d, initial %d", change, w.Initial)
	}
	c := wire.NewCredit(100)
	if got := c.Take(49); got != 0 {
		t.Errorf("credit of %d before half the window", got)
	}
	if got := c.Take(1); got != 50 {
		t.Errorf("credit of %d at half the window, want 50", got)
	}
}
