package main

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
)

// limitRuntime makes the Go runtime small, unless the environment says otherwise. One processor unless configured:
// requests are handed from connection to connection on one run queue, without waking threads. A low GC percentage costs
// little where nearly nothing is allocated. A memory limit below the container's makes the collector work harder before
// the kernel kills.
func limitRuntime(settings *mesh.ProxyConfig, log *zap.Logger) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers(settings, runtime.NumCPU()))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if limit := containerMemory(); os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
	log.Debug("runtime", zap.Int("processors", runtime.GOMAXPROCS(0)), zap.Int64("memoryLimit", debug.SetMemoryLimit(-1)))
}

// workers returns how many of the machine's cores the proxy may use at once.
func workers(settings *mesh.ProxyConfig, cores int) int {
	n := settings.Workers
	if settings.WorkersRatio > 0 {
		n = int(math.Ceil(settings.WorkersRatio * float64(cores)))
	}
	return min(max(n, 1), cores)
}

// containerMemory returns the memory limit of the container in bytes; 0 when there is none or it cannot be read.
func containerMemory() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && limit < 1<<50 {
			return limit
		}
	}
	return 0
}
