package tapclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// web is a Deployment to watch.
func web(t *testing.T) Target {
	t.Helper()
	kind, err := resource.ParseKind("deploy")
	if err != nil {
		t.Fatal(err)
	}
	return Target{Namespace: "shop", Kind: kind, Name: "web"}
}

// answer returns a Post whose answer is a stream.
func answer(stream io.Reader) Post {
	return func(context.Context, string, []byte) (io.ReadCloser, error) { return io.NopCloser(stream), nil }
}

// TestWatchOfBrokenStreams: how a stream ends decides what the user reads.
func TestWatchOfBrokenStreams(t *testing.T) {
	const event = `{"event":{"source":{"ip":"10.0.0.1"}}}` + "\n"
	cut := errors.New("connection reset by peer")
	for name, tt := range map[string]struct {
		stream io.Reader
		events int
		want   string
	}{
		"ends":                     {strings.NewReader(event + event), 2, "the tap server ended the stream"},
		"ends without a proxy":     {strings.NewReader(`{"watching":0}`), 0, "no proxy of deploy/web in namespace shop"},
		"ends at once":             {strings.NewReader(""), 0, "no proxy of deploy/web in namespace shop"},
		"has empty lines":          {strings.NewReader("\n" + event + "\n\n"), 1, "the tap server ended the stream"},
		"is cut off":               {io.MultiReader(strings.NewReader(event), iotest.ErrReader(cut)), 1, cut.Error()},
		"is cut off within a line": {io.MultiReader(strings.NewReader(event[:20]), iotest.ErrReader(cut)), 0, cut.Error()},
		"has another line":         {strings.NewReader("<html>\n" + event), 0, "invalid character '<'"},
		"has a line without end":   {bytes.NewReader(make([]byte, 2*maxLine)), 0, "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			events := 0
			err := Watch(t.Context(), answer(tt.stream), web(t), tap.Request{}, func(m tap.Message) error {
				if m.Event != nil {
					events++
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) || events != tt.events {
				t.Errorf("got %d events, error %v; want %d, %q", events, err, tt.events, tt.want)
			}
		})
	}
}

// TestWatchEndsWithItsContext, also within a line.
func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stream := io.MultiReader(strings.NewReader(`{"event":{}}`+"\n"+`{"eve`), iotest.ErrReader(context.Canceled))
	if err := Watch(ctx, answer(stream), web(t), tap.Request{},
		func(tap.Message) error { cancel(); return nil }); err != nil {
		t.Errorf("error %v", err)
	}
	refuse := func(context.Context, string, []byte) (io.ReadCloser, error) { return nil, context.Canceled }
	if err := Watch(ctx, refuse, web(t), tap.Request{}, nil); err != nil {
		t.Errorf("before the answer: error %v", err)
	}
}

// TestMissed: notices of many proxies become few sentences.
func TestMissed(t *testing.T) {
	var said []string
	m := Missed{Print: func(s string) { said = append(said, s) }}
	start := time.Unix(1000, 0)
	notice := func(after time.Duration, kind tap.NoticeKind, proxy string, count uint64, text string) {
		m.Add(tap.Message{Notice: &tap.Notice{Proxy: proxy, Kind: kind, Count: count, Text: text}}, start.Add(after))
	}
	for _, proxy := range []string{"shop/a", "shop/b", "shop/c"} {
		notice(0, tap.Unreachable, proxy, 0, "tap is turned off")
	}
	notice(0, tap.Unreachable, "shop/d", 0, "no answer\x1b[31m")
	if said != nil {
		t.Errorf("before all have answered: %q", said)
	}
	watching := 1
	m.Add(tap.Message{Watching: &watching}, start)
	notice(time.Second, tap.Skipped, "shop/e", 7, "")
	notice(time.Second, tap.Skipped, "shop/f", 3, "")
	notice(2*time.Second, tap.Skipped, "shop/e", 4, "")
	notice(3*time.Second, tap.Lost, "shop/e", 5, "")
	notice(7*time.Second, tap.Skipped, "shop/f", 1, "")
	notice(8*time.Second, tap.Ended, "shop/e", 0, "the proxy ended the stream")
	notice(8*time.Second, tap.Lost, "shop/f", 2, "")
	m.Flush()
	want := []string{
		"Cannot watch shop/a and 2 other pods: tap is turned off.",
		`Cannot watch shop/d: no answer\x1b[31m.`,
		"Not shown: 7 requests beyond --max-rps, of shop/e.",
		"Not shown: 8 requests beyond --max-rps, of shop/f and 1 other pod.",
		"Lost: 5 events that were not read in time, of shop/e.",
		"shop/e has gone: the proxy ended the stream",
		"Lost: 2 events that were not read in time, of shop/f.",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("sentences (-want +got):\n%s", diff)
	}
}

// TestTemplateEscapesValues: a template may have line breaks of its own, a client's text may not.
func TestTemplateEscapesValues(t *testing.T) {
	format, headers, err := NewFormat(`jsonpath={.requestInitEvent.path}{"\t"}{.source.port}{"\n"}`, "")
	if err != nil || !headers {
		t.Fatalf("headers %v, error %v", headers, err)
	}
	e := &tap.Event{Source: tap.Endpoint{Port: 65535}, RequestInit: &tap.RequestInit{Path: "/a\nb\x1b\u202e"}}
	got, err := format(e)
	if want := `/a\nb\x1b\u202e` + "\t65535"; got != want || err != nil {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
}
