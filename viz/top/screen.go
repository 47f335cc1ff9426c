package top

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

const (
	// redrawEvery is how often the rows are drawn.
	redrawEvery = 200 * time.Millisecond
	// headerLines are above the rows, footerLines below.
	headerLines, footerLines = 4, 1
	// gap is between columns; scrollBy is how far a key scrolls sideways.
	gap, scrollBy = 2, 5
)

// help says which keys there are.
const help = "(q: quit, arrow keys: scroll, s: sort by count, worst, last or success rate)"

// Watch hands messages to emit until ctx ends; see tapclient.Watch.
type Watch func(ctx context.Context, emit func(tap.Message) error) error

// Show draws the rows of a watch until the user quits or ctx ends. open returns the terminal; it is called when the
// watch has its first message, so that a refusal leaves the terminal as it is. When the stream ends, its rows stay, and
// Show returns why it ended when the user quits.
func Show(ctx context.Context, open func() (tcell.Screen, error), title string, rows *Rows, watch Watch) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &screen{rows: rows, title: title}
	messages := make(chan tap.Message, 64)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		s.ended = watch(ctx, func(m tap.Message) error {
			select {
			case messages <- m:
			case <-ctx.Done():
			}
			return nil
		})
		close(messages)
	})
	s.missed.Print = func(sentence string) { s.status = sentence }
	first, ok := <-messages
	if !ok {
		return s.ended
	}
	s.add(first)
	terminal, err := open()
	if err != nil {
		return err
	}
	if err := terminal.Init(); err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	defer terminal.Fini()
	s.terminal = terminal
	events, quit := make(chan tcell.Event), make(chan struct{})
	go terminal.ChannelEvents(events, quit)
	defer close(quit)
	return s.run(ctx, events, messages)
}

// screen is what is shown, and where the user has scrolled to.
type screen struct {
	terminal tcell.Screen
	rows     *Rows
	missed   tapclient.Missed
	title    string
	status   string // the last sentence about what is missing
	order    int    // of orders
	left, up int    // cells and rows that are scrolled away
	ended    error  // why the stream ended; written before the messages are closed
}

// run draws until the user quits, and returns why the stream ended, if it did.
func (s *screen) run(ctx context.Context, keys <-chan tcell.Event, messages <-chan tap.Message) (ended error) {
	redraw := time.NewTicker(redrawEvery)
	defer redraw.Stop()
	s.draw()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m, ok := <-messages:
			if ok {
				s.add(m)
				continue
			}
			messages, ended = nil, s.ended
			s.status = "The stream has ended."
			if ended != nil {
				s.status = table.Safe(ended.Error())
			}
		case <-redraw.C:
		case event, ok := <-keys:
			if !ok || s.key(event) {
				return ended
			}
		}
		s.draw()
	}
}

func (s *screen) add(m tap.Message) {
	s.missed.Add(m, time.Now())
	if m.Event != nil {
		s.rows.Add(m.Event)
	}
}

// key does what a key asks for. It reports whether that is to quit.
func (s *screen) key(event tcell.Event) (quit bool) {
	if _, resized := event.(*tcell.EventResize); resized {
		s.terminal.Sync()
		return false
	}
	pressed, ok := event.(*tcell.EventKey)
	if !ok {
		return false
	}
	_, height := s.terminal.Size()
	page := max(1, height-headerLines-footerLines)
	switch pressed.Key() {
	case tcell.KeyCtrlC:
		return true
	case tcell.KeyLeft:
		s.left -= scrollBy
	case tcell.KeyRight:
		s.left += scrollBy
	case tcell.KeyUp:
		s.up--
	case tcell.KeyDown:
		s.up++
	case tcell.KeyPgUp:
		s.up -= page
	case tcell.KeyPgDn:
		s.up += page
	case tcell.KeyHome:
		s.up = 0
	case tcell.KeyEnd:
		s.up = maxRows
	case tcell.KeyRune:
		switch pressed.Rune() {
		case 'q':
			return true
		case 'a':
			s.left -= scrollBy
		case 'd':
			s.left += scrollBy
		case 's':
			s.order = (s.order + 1) % len(orders)
		}
	}
	return false
}

// draw writes the whole screen. The terminal gets only what has changed.
func (s *screen) draw() {
	width, height := s.terminal.Size()
	rows, columns := s.rows.sorted(s.order), s.rows.columns()
	cells := make([][]string, len(rows))
	widths, all := make([]int, len(columns)), -gap
	for i, each := range rows {
		for _, c := range columns {
			cells[i] = append(cells[i], table.Safe(c.cell(each)))
		}
	}
	for i, c := range columns {
		widths[i] = uniseg.StringWidth(c.heading)
		for _, row := range cells {
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
		all += widths[i] + gap
	}
	s.left = min(max(0, s.left), max(0, all-width))
	visible := max(0, height-headerLines-footerLines)
	s.up = min(max(0, s.up), max(0, len(rows)-visible))

	s.terminal.Clear()
	s.put(0, 0, tcell.StyleDefault, fmt.Sprintf("%s, by %s", s.title, orders[s.order].name))
	s.put(0, 1, tcell.StyleDefault, help)
	bold := tcell.StyleDefault.Bold(true)
	x := -s.left
	for i, c := range columns {
		s.cell(x, headerLines-1, widths[i], c, bold, c.heading)
		for line := range min(visible, len(rows)-s.up) {
			s.cell(x, headerLines+line, widths[i], c, tcell.StyleDefault, cells[s.up+line][i])
		}
		x += widths[i] + gap
	}
	s.put(0, height-1, tcell.StyleDefault, s.footer(len(rows), visible))
	s.terminal.Show()
}

// footer says what is not in the rows that the screen shows.
func (s *screen) footer(rows, visible int) string {
	var parts []string
	switch {
	case rows == 0:
		parts = append(parts, "No request has ended yet.")
	case rows > visible:
		parts = append(parts, fmt.Sprintf("Rows %d to %d of %d.", s.up+1, s.up+min(visible, rows), rows))
	}
	if s.rows.dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d rows with few requests were dropped.", s.rows.dropped))
	}
	return strings.TrimSpace(strings.Join(append(parts, s.status), " "))
}

// cell writes a cell that is aligned as its column is.
func (s *screen) cell(x, y, width int, c column, style tcell.Style, text string) {
	if !c.left {
		x += width - uniseg.StringWidth(text)
	}
	s.put(x, y, style, text)
}

// put writes a text from column x on, which may be left of the screen. It takes printable text only.
func (s *screen) put(x, y int, style tcell.Style, text string) {
	for state := -1; text != ""; {
		var cluster string
		var width int
		cluster, text, width, state = uniseg.FirstGraphemeClusterInString(text, state)
		s.terminal.Put(x, y, cluster, style)
		x += width
	}
}
