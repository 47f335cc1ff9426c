package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The watch notices when the machine itself stands still: a hypervisor that takes a CPU away and reports nothing of it,
// or a kernel busy with something else. On each CPU a thread that nothing can hold up (SCHED_FIFO) naps; a late wake-up
// is a stall. It is a process of its own, so that neither the generator nor what it measures has a say in it. More
// frequent naps would cost the measured several percent of their CPUs.
const (
	nap  = time.Millisecond
	late = 500 * time.Microsecond
)

// A request is near a stall when one touches the time from before until after it was due: before, because a queue that
// a stall left takes time to drain. Both are fixed, so that how long a request took has no say in whether it counts.
const (
	before = 25 * time.Millisecond
	after  = 10 * time.Millisecond
)

// stall is a stretch in which a CPU stood still, in time of CLOCK_MONOTONIC.
type stall struct {
	From, To time.Duration
}

// stalls are what a watch saw, in order of their ends. The zero stalls are none.
type stalls struct {
	list []stall
	zero time.Time // when CLOCK_MONOTONIC was 0
}

func (s stalls) near(due time.Time) bool {
	at := due.Sub(s.zero)
	i, _ := slices.BinarySearchFunc(s.list, at-before, func(one stall, t time.Duration) int { return int(one.To - t) })
	// Of the two CPUs' stalls that end one after the other the later may have begun first, but none lasts longer than
	// before and after.
	return i < len(s.list) && s.list[i].From <= at+after
}

// watch is a running watch; nil: nobody watches.
type watch struct {
	cmd    *exec.Cmd
	input  io.Closer
	output *bufio.Reader
}

// startWatch starts this program once more, as a watch, and waits until it watches.
func startWatch() (*watch, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	w := &watch{cmd: exec.Command(self, "watch")}
	w.cmd.Stderr = os.Stderr
	if w.input, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.output = bufio.NewReader(output)
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := w.output.ReadString('\n'); err != nil || line != "ready\n" {
		_ = w.input.Close()
		return nil, fmt.Errorf("%q in place of ready: %w", line, w.cmd.Wait())
	}
	return w, nil
}

// stop ends the watch and returns what it saw. A generator that fails earlier leaves the watch to the end of its
// standard input.
func (w *watch) stop() (stalls, error) {
	if w == nil {
		return stalls{}, nil
	}
	_ = w.input.Close() // the watch ends on it
	s := stalls{zero: time.Now().Add(-monotonic())}
	if err := json.NewDecoder(w.output).Decode(&s.list); err != nil {
		return stalls{}, fmt.Errorf("read what the watch saw: %w", err)
	}
	slices.SortFunc(s.list, func(a, b stall) int { return int(a.To - b.To) })
	return s, w.cmd.Wait()
}

// runWatch is the watch itself: it prints "ready", watches until standard input ends and prints the stalls as JSON.
func runWatch() error {
	cpus := runtime.NumCPU()
	runtime.GOMAXPROCS(cpus + 1) // no watching thread waits for another
	var ended atomic.Bool
	begun, seen := make(chan error), make(chan []stall)
	for cpu := range cpus {
		go func() {
			err := rise(cpu)
			begun <- err
			if err == nil {
				seen <- doze(&ended)
			}
		}()
	}
	for range cpus {
		if err := <-begun; err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // any end will do
	ended.Store(true)
	all := []stall{}
	for range cpus {
		all = append(all, <-seen...)
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// rise gives this goroutine a thread of its own on one CPU, above everything else there.
func rise(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("watch CPU %d: %w", cpu, err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("watch CPU %d: %w", cpu, err)
	}
	return nil
}

func doze(ended *atomic.Bool) []stall {
	stalls := make([]stall, 0, 4096)
	for last := monotonic(); !ended.Load(); {
		ts := unix.NsecToTimespec(nap.Nanoseconds())
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // an interrupted nap is only shorter
		woke := monotonic()
		if woke-last > nap+late {
			stalls = append(stalls, stall{From: last, To: woke})
		}
		last = woke
	}
	return stalls
}

func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // never fails for this clock
	return time.Duration(ts.Nano())
}
