package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/internal/alloctest"
)

func fields(h *Head) string {
	var b strings.Builder
	for n, v := range h.All() {
		fmt.Fprintf(&b, "%s=%s;", n, v)
	}
	return b.String()
}

func TestFieldsAreEditedInPlace(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(h *Head)
		want string
	}{
		"Set replaces the first and drops the others": {func(h *Head) { h.Set("a", "9") }, "A=9;b=2;c=4;"},
		"Set appends what is not there":               {func(h *Head) { h.Set("d", "9") }, "A=1;b=2;a=3;c=4;d=9;"},
		"Del removes every line, whatever its case":   {func(h *Head) { h.Del("a") }, "b=2;c=4;"},
		"Del of what is not there changes nothing":    {func(h *Head) { h.Del("x") }, "A=1;b=2;a=3;c=4;"},
		"Add of a part of the head itself":            {func(h *Head) { h.AddBytes(h.Field(1)) }, "A=1;b=2;a=3;c=4;b=2;"},
		"DelFunc keeps the order": {
			func(h *Head) { h.DelFunc(func(n, _ []byte) bool { return string(n) == "b" }) }, "A=1;a=3;c=4;"},
		"Reset empties": {func(h *Head) { h.Reset() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Head{}
			for i, n := range []string{"A", "b", "a", "c"} {
				h.Add(n, fmt.Sprint(i+1))
			}
			c.edit(h)
			if got := fields(h); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestCopyIsIndependent(t *testing.T) {
	var a, b Head
	a.SetPart(Path, "/x")
	a.Add("k", "v")
	b.CopyFrom(&a)
	a.Reset()
	a.SetPart(Path, "/other")
	a.Add("q", "w")
	if string(b.Path()) != "/x" || fields(&b) != "k=v;" {
		t.Errorf("got %s %s", b.Path(), fields(&b))
	}
}

func TestListsOfTokens(t *testing.T) {
	for in, want := range map[string]bool{
		"close": true, "Close": true, " a , close": true, "a,\tCLOSE\t,b": true, ",,close": true, "closed": false,
		"a close": false, "": false,
	} {
		if got := HasToken([]byte(in), "close"); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestAWarmHeadAllocatesNothing(t *testing.T) {
	var h Head
	if n := alloctest.Count(t, 100, func() {
		h.Reset()
		h.SetPart(Method, "GET")
		h.Add("a", "b")
		h.Set("a", "c")
		h.Del("x")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhatAConnectionMayBecome(t *testing.T) {
	for in, want := range map[string]bool{
		"websocket": true, "SPDY/3.1": true, "websocket, IRC/6.9": true,
		"h2c": false, "websocket, H2C": false, "HTTP/2.0": false, "TLS/1.0": false, "": false, ",": false, "a b": false,
		"websocket\th2c": false,
	} {
		if got := MayUpgrade([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}
