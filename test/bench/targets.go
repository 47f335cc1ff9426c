package main

import "github.com/tulle-mesh/tulle/test/bench/systems"

// target is one comparison of Tulle with another system, as docs/performance.md explains it.
type target struct {
	workload, figure, vs string
	bound                float64
	atLeast              bool   // the ratio must not be below the bound; otherwise not above it
	added                bool   // the direct path's value is taken off both sides first
	own                  bool   // vs names another of Tulle's figures, of the same workload
	of                   string // the system that is compared; "": Tulle
}

// limits are bounds on Tulle's own figures; their ratio is value by limit.
const limits = "limit"

func atMost(workload, figure, vs string, bound float64) target {
	return target{workload: workload, figure: figure, vs: vs, bound: bound}
}

func atLeast(workload, figure, vs string, bound float64) target {
	return target{workload: workload, figure: figure, vs: vs, bound: bound, atLeast: true}
}

func added(t target) target {
	t.added = true
	return t
}

// ofItself compares a figure with another of Tulle's own.
func ofItself(workload, figure, other string, bound float64) target {
	return target{workload: workload, figure: figure, vs: other, bound: bound, own: true}
}

// Names of comparators in targets.
const (
	hap = "haproxy"
	rev = "reverseproxy"
	nul = "null"
	lin = "linkerd2-proxy"
	env = "envoy"
	old = "before"
)

// required are what a release has to reach.
var required = []target{
	atMost("W1", "isolated.cpu", hap, 1.15), atMost("W1", "isolated.cpu", rev, 0.45),
	atLeast("W1", "shared.throughput", hap, 0.95),
	added(atMost("W1", "shared.high.p99", hap, 1.2)),
	atMost("W3", "isolated.cpu", rev, 0.35),
	atLeast("W5", "isolated.up1.gbps", hap, 0.8), atLeast("W5", "isolated.down1.gbps", hap, 0.8),
	atMost("W7", "isolated.per_connection", hap, 1.5),
	atMost("W0", "isolated.rss_anon", limits, 8<<20), atMost("W0", "isolated.rss", limits, 16<<20),
	atMost("W0", "binary", limits, 16e6),
}

// aspired are where it goes next.
var aspired = []target{
	added(atMost("W1", "isolated.cpu_all", nul, 2)), added(atMost("W1", "isolated.cpu_all", hap, 1.15)),
	added(atMost("W1", "isolated.cpu_all", rev, 0.45)), added(atMost("W1", "isolated.cpu_all", lin, 0.6)),
	added(atMost("W1", "isolated.cpu_all", env, 0.5)),
	atLeast("W1", "shared.throughput", nul, 0.65), atLeast("W1", "shared.throughput", rev, 1.8),
	atLeast("W1", "shared.throughput", lin, 1.4), atLeast("W1", "shared.throughput", env, 1.5),
	added(atMost("W1", "shared.high.p99", nul, 2.5)), added(atMost("W1", "shared.high.p99", rev, 0.5)),
	added(atMost("W1", "shared.high.p99", lin, 0.8)), added(atMost("W1", "shared.high.p99", env, 0.5)),
	added(atMost("W1", "shared.high.p999", nul, 4)), added(atMost("W1", "shared.high.p999", hap, 1.5)),
	added(atMost("W1", "shared.high.p999", rev, 0.5)), added(atMost("W1", "shared.high.p999", lin, 1)),
	added(atMost("W1c1", "isolated.p50", nul, 1.6)), added(atMost("W1c1", "isolated.p50", hap, 1.1)),
	added(atMost("W1c1", "isolated.p50", rev, 0.6)), added(atMost("W1c1", "isolated.p50", lin, 0.85)),
	atLeast("W2", "isolated.throughput", hap, 0.9), atMost("W2", "isolated.cpu", hap, 1.15),
	atLeast("W2", "isolated.throughput", rev, 1.5),
	atLeast("W2", "isolated.throughput", lin, 1),
	atMost("W3", "isolated.cpu", hap, 1.1), atMost("W3", "isolated.cpu", lin, 0.6),
	atLeast("W3", "shared.throughput", hap, 1), atLeast("W3", "shared.throughput", rev, 2.5),
	atLeast("W3", "shared.throughput", lin, 1.5),
	atLeast("W4", "isolated.messages.throughput", hap, 1), atLeast("W4", "isolated.messages.throughput", rev, 2.5),
	atLeast("W4", "isolated.messages.throughput", lin, 1.5),
	atLeast("W5", "isolated.up1.gbps", nul, 0.35), atLeast("W5", "isolated.up1.gbps", rev, 1.3),
	atLeast("W5", "isolated.up1.gbps", lin, 1.1),
	atLeast("W6a", "isolated.throughput", hap, 0.9), atLeast("W6a", "isolated.throughput", rev, 1.5),
	atLeast("W6a", "isolated.throughput", lin, 1.2),
	atLeast("W6b", "isolated.throughput", hap, 2), atLeast("W6b", "isolated.throughput", rev, 3),
	atLeast("W6b", "isolated.throughput", lin, 4),
	atMost("W0", "isolated.rss_anon", hap, 1.5), atMost("W0", "isolated.rss_anon", rev, 0.5),
	atMost("W0", "isolated.rss_anon", lin, 1),
	atMost("W7", "isolated.per_connection", rev, 0.3), atMost("W7", "isolated.per_connection", lin, 0.5),
	ofItself("W8", "shared.churn.p99", "shared.still.p99", 1.5),
	atMost("W8", "isolated.push.cpu_seconds", lin, 0.5), atMost("W8", "isolated.push.cpu_seconds", env, 0.3),
	atMost("W8", "isolated.push.growth", lin, 0.6), atMost("W8", "isolated.push.growth", env, 0.3),
	atMost("W10", "isolated.growth", limits, 64*(256<<10)*1.1),
	added(atMost("W9", "shared.mixed.p99", hap, 1)), added(atMost("W9", "shared.mixed.p99", lin, 1)),
}

// unchanged are compared with an older Tulle when -before names one. A change that adds features may cost 2 %.
var unchanged = []target{
	atMost("W1", "isolated.cpu", old, 1.02), atLeast("W1", "shared.throughput", old, 0.98),
	atMost("W3", "isolated.cpu", old, 1.02),
}

// tapCost is what a tap of 1,000 requests a second may cost at half load.
var tapCost = []target{
	tapMost("W1", "shared.high.cpu", 1.05), tapMost("W1", "shared.high.p99", 1.05),
}

// tapMost compares Tulle while somebody watches it with Tulle.
func tapMost(workload, figure string, bound float64) target {
	return target{workload: workload, figure: figure, vs: "tulle", bound: bound, of: systems.Tapped}
}

// unit of a figure, by the end of its name.
var units = []struct{ suffix, unit string }{
	{".throughput", "1/s"}, {".cpu_all", "us"}, {"idle_cpu", "mcpu"}, {".cpu", "us"}, {"p50", "us"}, {".p99", "us"},
	{".p99_raw", "us"}, {".p999", "us"},
	{".gbps", "Gb/s"}, {"rss_anon", "B"}, {"rss", "B"}, {"per_connection", "B"}, {"growth", "B"}, {"binary", "B"},
	{".late", "1"}, {".calm", "1"},
	{"syscalls", "1"}, {"cpu_seconds", "s"}, {".lost", "1"}, {".changes", "1/s"}, {".heard", "1/s"},
}
