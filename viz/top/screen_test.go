package top

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/viz/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded is a terminal in memory that keeps what it shows as lines.
type recorded struct {
	tcell.SimulationScreen
	lines atomic.Pointer[[]string]
}

func (r *recorded) Show() {
	r.SimulationScreen.Show()
	cells, width, height := r.GetContents()
	var lines []string
	for y := range height {
		var b strings.Builder
		for x := range width {
			b.WriteString(string(cells[y*width+x].Runes))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	r.lines.Store(&lines)
}

// show is a screen in memory that shows a stream.
type show struct {
	terminal *recorded
	opened   chan struct{}
	result   chan error
	feed     chan tap.Message
	cancel   context.CancelFunc
}

// startShow shows the messages of feed; its end ends the stream with fault.
func startShow(t *testing.T, rows *Rows, fault error) *show {
	t.Helper()
	s := &show{terminal: &recorded{SimulationScreen: tcell.NewSimulationScreen("UTF-8")}, opened: make(chan struct{}),
		result: make(chan error, 1),
		feed:   make(chan tap.Message)}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	t.Cleanup(cancel)
	open := func() (tcell.Screen, error) { defer close(s.opened); return s.terminal, nil }
	watch := func(ctx context.Context, emit func(tap.Message) error) error {
		for {
			select {
			case m, ok := <-s.feed:
				if !ok {
					return fault
				}
				if err := emit(m); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
	go func() { s.result <- Show(ctx, open, "deploy/web in namespace shop", rows, watch) }()
	return s
}

func (s *show) send(events ...*tap.Event) {
	for _, e := range events {
		s.feed <- tap.Message{Event: e}
	}
}

// await waits until the screen shows a text, and returns its lines.
func (s *show) await(t *testing.T, want string) []string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for ; ; <-time.After(5 * time.Millisecond) {
		var lines []string
		if shown := s.terminal.lines.Load(); shown != nil {
			lines = *shown
		}
		if strings.Contains(strings.Join(lines, "\n"), want) {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("the screen never shows %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func (s *show) press(key tcell.Key, r rune) { s.terminal.InjectKey(key, r, tcell.ModNone) }

func (s *show) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.result:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

func TestScreen(t *testing.T) {
	s := startShow(t, &Rows{}, nil)
	watching := 1
	s.feed <- tap.Message{Watching: &watching}
	<-s.opened
	s.await(t, "No request has ended yet.")
	for i := range uint64(3) {
		s.send(exchange(i, "/often", 200, 2*time.Millisecond, nil)...)
	}
	s.send(exchange(9, "/\x1b[31mred 世界", 500, 300*time.Millisecond, nil)...)
	want := []string{
		"deploy/web in namespace shop, by count",
		"(q: quit, arrow keys: scroll, s: sort by count, worst, last or success rate)",
		"",
		"Source  Destination  Method  Path               Count   Best  Worst   Last  Succ",
		"web-1   10.0.0.2     GET     /often                 3    2ms    2ms    2ms",
		`web-1   10.0.0.2     GET     /\x1b[31mred 世 界       1  300ms  300ms  300ms`, // a wide letter has two cells
	}
	got := s.await(t, "300ms  300ms")[:len(want)]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
	s.press(tcell.KeyRight, 0)
	for range 3 {
		s.press(tcell.KeyRune, 'd')
	}
	if lines := s.await(t, "Success Rate"); !strings.HasSuffix(lines[4], "100.00%") {
		t.Errorf("scrolled to the right: %q", lines[4])
	}
	s.press(tcell.KeyRune, 's')
	if lines := s.await(t, "by worst"); !strings.Contains(lines[4], "300ms") {
		t.Errorf("sorted by worst: %q", lines[4])
	}
	s.feed <- tap.Message{Notice: &tap.Notice{Proxy: "shop/web-1", Kind: tap.Skipped, Count: 7}}
	s.await(t, "Not shown: 7 requests beyond --max-rps, of shop/web-1.")
	s.press(tcell.KeyRune, 'q')
	if err := s.wait(t); err != nil {
		t.Errorf("error %v", err)
	}
}

func TestScreenScrollsRows(t *testing.T) {
	s := startShow(t, &Rows{}, nil)
	for i := range uint64(60) {
		s.send(exchange(i, "/"+strings.Repeat("x", int(i)%7)+string(rune('A'+i%26)), 200, time.Millisecond, nil)...)
	}
	<-s.opened
	s.await(t, "Rows 1 to 20 of 60.")
	for _, step := range []struct {
		key  tcell.Key
		want string
	}{
		{tcell.KeyDown, "Rows 2 to 21 of 60."}, {tcell.KeyPgDn, "Rows 22 to 41 of 60."},
		{tcell.KeyEnd, "Rows 41 to 60 of 60."},
		{tcell.KeyPgDn, "Rows 41 to 60 of 60."}, {tcell.KeyPgUp, "Rows 21 to 40 of 60."},
		{tcell.KeyUp, "Rows 20 to 39 of 60."},
		{tcell.KeyHome, "Rows 1 to 20 of 60."},
	} {
		s.press(step.key, 0)
		s.await(t, step.want)
	}
	s.press(tcell.KeyCtrlC, 0)
	if err := s.wait(t); err != nil {
		t.Errorf("error %v", err)
	}
}

// TestScreenKeepsTheRowsOfAStreamThatEnded, so that the user can read them.
func TestScreenKeepsTheRowsOfAStreamThatEnded(t *testing.T) {
	fault := errors.New("the tap server ended the stream")
	s := startShow(t, &Rows{}, fault)
	s.send(exchange(1, "/kept", 200, time.Millisecond, nil)...)
	close(s.feed)
	<-s.opened
	if lines := s.await(t, fault.Error()); !strings.Contains(lines[4], "/kept") {
		t.Errorf("got %q", lines[4])
	}
	s.press(tcell.KeyRune, 'q')
	if err := s.wait(t); !errors.Is(err, fault) {
		t.Errorf("error %v, want %v", err, fault)
	}
}

// TestRefusalOpensNoTerminal: the user reads why in the terminal as it is.
func TestRefusalOpensNoTerminal(t *testing.T) {
	fault := errors.New("forbidden")
	s := startShow(t, &Rows{}, fault)
	close(s.feed)
	if err := s.wait(t); !errors.Is(err, fault) {
		t.Errorf("error %v, want %v", err, fault)
	}
	select {
	case <-s.opened:
		t.Error("it opened the terminal")
	default:
	}
}

func TestScreenEndsWithItsContext(t *testing.T) {
	s := startShow(t, &Rows{}, nil)
	s.send(exchange(1, "/a", 200, time.Millisecond, nil)...)
	<-s.opened
	s.await(t, "/a")
	s.cancel()
	if err := s.wait(t); err != nil {
		t.Errorf("error %v", err)
	}
}
