package attack

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

var (
	seconds = flag.Float64("seconds", 2, "how long each attack lasts")
	update  = flag.Bool("update", false, "write docs/attacks.md")
)

// proxyPath is the proxy under attack, which TestMain builds.
var proxyPath string

// TestMain runs the tests in namespaces of their own. Without root they are skipped.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("attack: skipped: network namespaces need root")
		return
	}
	if err := run(m); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

func run(m *testing.M) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !lab.Inside() {
		dir, err := os.MkdirTemp("", "tulle-attack-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "tulle-proxy")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", path,
			"./cmd/tulle-proxy")
		build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build tulle-proxy: %w: %s", err, out)
		}
		if err := os.Setenv("TULLE_ATTACK_PROXY", path); err != nil {
			return err
		}
		return lab.Enter(ctx)
	}
	proxyPath = os.Getenv("TULLE_ATTACK_PROXY")
	if err := lab.Furnish(); err != nil {
		return err
	}
	for _, addr := range []string{podAddr.String(), attackerAddr.String(), clientAddr.String()} {
		if err := ip("address", "add", addr+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	if code := m.Run(); code != 0 {
		os.Exit(code)
	}
	return nil
}

// tolerated is the share of honest requests that may fail, 1 in so many: a machine that others use makes some of them
// time out.
const tolerated = 20

// outcome is one row of docs/attacks.md.
type outcome struct {
	attack
	quiet, during *honest
	growth        int64 // RssAnon of both proxies, at its highest
	ended         int   // connections that the proxy ended
	failure       error
}

// TestHonestTrafficSurvives runs each attack against a fresh pair.
func TestHonestTrafficSurvives(t *testing.T) {
	var outcomes []outcome
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			o := measure(t, a)
			outcomes = append(outcomes, o)
			t.Logf("%d honest requests, %d failed (%v); p99 %s quiet, %s during; memory +%.1f MiB; %d connections ended (%v)",
				o.during.sent, o.during.failed, o.during.firstError, o.quiet.p99().Round(10*time.Microsecond),
				o.during.p99().Round(10*time.Microsecond),
				float64(o.growth)/(1<<20), o.ended, o.failure)
			if want := duration(); o.during.sending > 2*want {
				t.Fatalf("requests were sent for %s instead of %s: the test itself had to wait for a CPU, which is not the "+
					"proxies' fault; run it on a machine that is less busy", o.during.sending, want)
			}
			if o.quiet.failed+o.during.failed > o.during.sent/tolerated {
				t.Errorf("honest requests failed: %d of %d quiet (%v), %d of %d during (%v)", o.quiet.failed, o.quiet.sent,
					o.quiet.firstError,
					o.during.failed, o.during.sent, o.during.firstError)
			}
			if bound := int64(a.memoryMiB) << 20; o.growth > bound {
				t.Errorf("the proxies grew by %d bytes, want at most %d", o.growth, bound)
			}
			if a.endsConnections && o.ended == 0 {
				t.Error("no connection of the attacker was ended")
			}
		})
	}
	if *update {
		writeReport(t, outcomes)
	}
}

// duration is how long each attack lasts.
func duration() time.Duration { return time.Duration(*seconds * float64(time.Second)) }

// measure sends honest traffic without and then with the attack.
func measure(t *testing.T, a attack) outcome {
	p := startPair(t)
	clients := honestClients()
	o := outcome{attack: a}
	for _, c := range clients {
		defer c.CloseIdleConnections()
	}
	warm, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	load(warm, clients)
	cancel()
	quiet, cancel := context.WithTimeout(context.Background(), duration())
	o.quiet = load(quiet, clients)
	cancel()

	before := p.memory()
	ctx, cancel := context.WithTimeout(context.Background(), duration())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { o.ended, o.failure = a.run(ctx, p) })
	wg.Go(func() {
		for ctx.Err() == nil {
			o.growth = max(o.growth, p.memory()-before)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	o.during = load(ctx, clients)
	wg.Wait()
	for _, process := range []*lab.Process{p.in, p.out} {
		if err := process.Alive(); err != nil {
			t.Fatal(err)
		}
	}
	return o
}
