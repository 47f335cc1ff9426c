package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux architecture that Go supports.
const tick = 10 * time.Millisecond

// Tree is the process and its descendants.
func (p *Process) Tree() []int {
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if fields, err := statFields(pid); err == nil {
			parent, _ := strconv.Atoi(fields[1])
			parents[parent] = append(parents[parent], pid)
		}
	}
	all := []int{p.PID()}
	for i := 0; i < len(all); i++ {
		all = append(all, parents[all[i]]...)
	}
	return all
}

// statFields are the fields of /proc/PID/stat behind the command name: state is 0, the parent 1.
func statFields(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return nil, fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	return fields, nil
}

// CPU is user plus system time of the process and its descendants so far, to the nanosecond: /proc/PID/stat tells it in
// ticks of 10 ms.
func (p *Process) CPU() time.Duration {
	var used time.Duration
	for _, pid := range p.Tree() {
		var t unix.Timespec
		if unix.ClockGettime(cpuClock(pid), &t) != nil {
			continue // ended since the listing
		}
		used += time.Duration(t.Nano())
	}
	return used
}

// cpuClock is the clock of what a process used. Source: clock_getcpuclockid(3), whose encoding is the kernel's
// CPUCLOCK_SCHED.
func cpuClock(pid int) int32 { return int32(^pid<<3 | 2) }

// Memory is what a process and its descendants hold, in bytes.
type Memory struct{ Anonymous, Resident int64 }

// Memory reads RssAnon and VmRSS.
func (p *Process) Memory() Memory {
	var m Memory
	for _, pid := range p.Tree() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // ended since the listing
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			switch fields[0] {
			case "RssAnon:":
				m.Anonymous += kib << 10
			case "VmRSS:":
				m.Resident += kib << 10
			}
		}
	}
	return m
}

// Machine is what all CPUs did since boot.
type Machine struct{ Busy, Steal, Total time.Duration }

// ReadMachine reads /proc/stat.
func ReadMachine() (Machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, fmt.Errorf("read machine load: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks [8]int64 // user nice system idle iowait irq softirq steal
	for i, field := range strings.Fields(line)[1:] {
		if i < len(ticks) {
			ticks[i], _ = strconv.ParseInt(field, 10, 64)
		}
	}
	var m Machine
	for i, n := range ticks {
		d := time.Duration(n) * tick
		m.Total += d
		if i != 3 && i != 4 {
			m.Busy += d
		}
	}
	m.Steal = time.Duration(ticks[7]) * tick
	return m, nil
}

// Sub is the difference of two readings.
func (m Machine) Sub(earlier Machine) Machine {
	return Machine{Busy: m.Busy - earlier.Busy, Steal: m.Steal - earlier.Steal, Total: m.Total - earlier.Total}
}
