package main

import (
	"fmt"
	"io"
	"time"
)

// progress prints what the tool does, one line a step, with the time it took.
type progress struct {
	out   io.Writer
	begun time.Time
}

// step runs fn and prints its name and outcome. fn returns a word or two about what it found or did; "" adds nothing.
func (p *progress) step(name string, fn func() (string, error)) error {
	begun := time.Now()
	fmt.Fprintf(p.out, "  .. %s\n", name)
	note, err := fn()
	took := time.Since(begun).Round(100 * time.Millisecond)
	if err != nil {
		fmt.Fprintf(p.out, "  !! %s (%s)\n", name, took)
		return fmt.Errorf("%s: %w", name, err)
	}
	if note != "" {
		note = ": " + note
	}
	fmt.Fprintf(p.out, "  ok %s%s (%s)\n", name, note, took)
	return nil
}

func (p *progress) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }
