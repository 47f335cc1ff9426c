package stats

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// AddProcess adds the metrics of the process: build, times, memory, descriptors. started is when the process began.
func (r *Registry) AddProcess(version string, started time.Time) {
	r.Func("proxy_build_info", Labels("").With("version", version).With("go_version", runtime.Version()),
		func() float64 { return 1 })
	r.Func("process_start_time_seconds", "", func() float64 { return float64(started.UnixMilli()) / 1000 })
	r.Func("process_cpu_seconds_total", "", cpuSeconds)
	r.Func("process_resident_memory_bytes", "", func() float64 { return statm(1) })
	r.Func("process_virtual_memory_bytes", "", func() float64 { return statm(0) })
	r.Func("process_open_fds", "", openFDs)
	r.Func("process_max_fds", "", maxFDs)
	r.Func("tulle_goroutines", "", func() float64 { return float64(runtime.NumGoroutine()) })
	r.Func("tulle_memory_heap_bytes", "", func() float64 { return runtimeMetric("/memory/classes/heap/objects:bytes") })
	r.Func("tulle_memory_stack_bytes", "", func() float64 { return runtimeMetric("/memory/classes/heap/stacks:bytes") })
}

// cpuSeconds returns the CPU time so far. Like the functions below it returns 0 if the system does not report it.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// statm returns a column of /proc/self/statm in bytes.
func statm(column int) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if column >= len(fields) {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[column]), 10, 64)
	if err != nil {
		return 0
	}
	return float64(pages) * float64(os.Getpagesize())
}

func openFDs() float64 {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return float64(len(names) - 1) // without the descriptor that reads the folder
}

func maxFDs() float64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return float64(limit.Cur)
}

func runtimeMetric(name string) float64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return float64(sample[0].Value.Uint64())
}
