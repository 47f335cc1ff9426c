package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

func TestLinesArriveInOrder(t *testing.T) {
	var out bytes.Buffer
	var lost atomic.Uint64
	l := newLines(&out, &lost)
	go l.run()
	var want strings.Builder
	for i := range 1000 {
		_, _ = fmt.Fprintf(io.MultiWriter(l, &want), "line %d\n", i)
	}
	l.close()
	if out.String() != want.String() || lost.Load() != 0 {
		t.Errorf("got %d bytes and %d lost, want %d and none", out.Len(), lost.Load(), want.Len())
	}
}

// Nobody reads the pipe, as when a container's log cannot be written.
func TestStalledReaderOfLinesMakesNobodyWait(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var lost atomic.Uint64
	l := newLines(w, &lost)
	go l.run()
	line := []byte(strings.Repeat("x", 999) + "\n")
	const count = 2000
	for range count {
		_, _ = l.Write(line)
	}
	if lost.Load() == 0 {
		t.Error("no line is lost")
	}
	read := make(chan int)
	go func() {
		got, _ := io.ReadAll(r)
		read <- len(got) / len(line)
	}()
	l.close()
	_ = w.Close()
	if got := <-read; uint64(got)+lost.Load() != count {
		t.Errorf("%d lines and %d lost, want %d", got, lost.Load(), count)
	}
}
