package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestInitNamesWhatIsMissing(t *testing.T) {
	for _, tt := range []struct{ name, config, want string }{
		{"no configuration", "", mesh.CaptureConfigEnv},
		{"unknown field", `{"outbuondPort":1}`, "outbuondPort"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(mesh.CaptureConfigEnv, tt.config)
			if err := runInit(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestInitTwice runs in a network namespace of its own, where a second run replaces the rules of the first.
func TestInitTwice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	config, err := json.Marshal(mesh.CaptureConfig{
		OutboundPort: mesh.OutboundPort, InboundPort: mesh.InboundPort, ProxyUID: mesh.ProxyUID,
		SkipSubnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(mesh.CaptureConfigEnv, string(config))
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is in the namespace, ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- nil
			t.Logf("no network namespace: %v", err)
			return
		}
		err := runInit(nil)
		if err == nil {
			err = runInit(nil)
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Error(err)
	}
}
