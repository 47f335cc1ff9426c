package tapclient

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// printInterval is how long at least passes between two sentences about events that are missing.
const printInterval = 5 * time.Second

// Missed says in plain sentences what a stream misses. It joins notices that say the same of several proxies, so a
// large workload does not fill the terminal.
type Missed struct {
	Print func(sentence string)

	unreachable map[string][]string // proxies, by why they cannot be watched; written at once
	reasons     []string            // the keys of unreachable, in their order
	watching    bool
	skipped     missedCount
	lost        missedCount
	printed     time.Time
}

// missedCount is how many events are missing, and the proxies that would have shown them.
type missedCount struct {
	count   uint64
	proxies []string
}

func (t *missedCount) add(n *tap.Notice) {
	t.count += n.Count
	if !slices.Contains(t.proxies, n.Proxy) {
		t.proxies = append(t.proxies, n.Proxy)
	}
}

// Add takes a message of the stream, and says what is due. Call Flush at the end.
func (m *Missed) Add(message tap.Message, now time.Time) {
	if message.Watching != nil {
		m.watching = true
		m.printUnreachable()
	}
	n := message.Notice
	if n == nil {
		return
	}
	switch n.Kind {
	case tap.Unreachable:
		if _, known := m.unreachable[n.Text]; !known {
			m.reasons = append(m.reasons, n.Text)
		}
		if m.unreachable == nil {
			m.unreachable = map[string][]string{}
		}
		m.unreachable[n.Text] = append(m.unreachable[n.Text], n.Proxy)
		if m.watching {
			m.printUnreachable()
		}
		return
	case tap.Skipped:
		m.skipped.add(n)
	case tap.Lost:
		m.lost.add(n)
	default:
		m.Print(n.String())
		return
	}
	if now.Sub(m.printed) >= printInterval {
		m.printed = now
		m.printCounts()
	}
}

// Flush says what has not been said yet.
func (m *Missed) Flush() {
	m.printUnreachable()
	m.printCounts()
}

func (m *Missed) printUnreachable() {
	for _, reason := range m.reasons {
		m.Print(table.Safe(fmt.Sprintf("Cannot watch %s: %s.", firstOf(m.unreachable[reason]), reason)))
	}
	m.reasons, m.unreachable = nil, nil
}

func (m *Missed) printCounts() {
	if m.skipped.count > 0 {
		m.Print(table.Safe(fmt.Sprintf("Not shown: %d requests beyond --max-rps, of %s.", m.skipped.count,
			firstOf(m.skipped.proxies))))
	}
	if m.lost.count > 0 {
		m.Print(table.Safe(fmt.Sprintf("Lost: %d events that were not read in time, of %s.", m.lost.count,
			firstOf(m.lost.proxies))))
	}
	m.skipped, m.lost = missedCount{}, missedCount{}
}

// firstOf names the first of several proxies.
func firstOf(proxies []string) string {
	switch others := len(proxies) - 1; others {
	case 0:
		return proxies[0]
	case 1:
		return proxies[0] + " and 1 other pod"
	default:
		return fmt.Sprintf("%s and %d other pods", proxies[0], others)
	}
}

// PrintLines returns a Say that writes lines.
func PrintLines(w io.Writer) func(string) { return func(sentence string) { fmt.Fprintln(w, sentence) } }
