package attack

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var attacks = append(append(http1Attacks(), http2Attacks()...), serverAttacks()...)

// The table in docs/attacks.md stands between these lines.
const (
	reportFile  = "../../docs/attacks.md"
	reportBegin = "<!-- make attack writes from here -->\n"
	reportEnd   = "<!-- to here -->\n"
)

// writeReport puts the outcomes into docs/attacks.md.
func writeReport(t *testing.T, outcomes []outcome) {
	text, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), reportBegin)
	_, after, ended := strings.Cut(rest, reportEnd)
	if !found || !ended {
		t.Fatalf("%s lacks the lines that the table stands between", reportFile)
	}
	if err := os.WriteFile(reportFile, []byte(before+reportBegin+table(outcomes)+reportEnd+after), 0o644); err != nil {
		t.Error(err)
	}
}

func table(outcomes []outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Each attack lasted %g s (%s).\n\n", *seconds, time.Now().UTC().Format(time.DateOnly))
	b.WriteString(
		"| attack | by | what it does | honest requests | failed | p99 | memory, MiB (bound) | ended " +
			"|\n|---|---|---|---:|---:|---:|---:|---:|\n")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %.1f | %.1f (%d) | %d |\n", o.name, o.from, o.what, o.during.sent,
			o.during.failed,
			float64(o.during.p99())/float64(max(o.quiet.p99(), 1)), float64(o.growth)/(1<<20), o.memoryMiB, o.ended)
	}
	return b.String()
}
