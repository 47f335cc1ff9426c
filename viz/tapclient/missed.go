package tapclient

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// printInterval is the shortest time between two sentences about lost and skipped events.
const printInterval = 5 * time.Second

// Missed prints sentences about what is missing in a stream. It joins equal notices of several proxies, so a large
// workload does not fill the terminal. Print must be set; the rest may be zero.
type Missed struct {
	Print func(sentence string)

	unreachable map[string][]string // proxies that cannot be watched, by the reason
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

func (c *missedCount) add(n *tap.Notice) {
	c.count += n.Count
	if !slices.Contains(c.proxies, n.Proxy) {
		c.proxies = append(c.proxies, n.Proxy)
	}
}

// Add takes a message of the stream, and prints sentences that are due. Call Flush at the end.
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

// Flush prints what is left.
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

// firstOf returns the name of the first proxy, and how many others there are.
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

// PrintLines returns a Print that writes each sentence as a line.
func PrintLines(w io.Writer) func(string) { return func(sentence string) { fmt.Fprintln(w, sentence) } }
