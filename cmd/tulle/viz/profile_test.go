package viz

import (
	"context"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds/crdtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestProfile: the profile passes the validation of the API server.
func TestProfile(t *testing.T) {
	for name, args := range map[string]string{
		"yaml":  "profile --tap deploy/api api",
		"json":  "profile --tap deploy/api api -o json",
		"limit": "profile --tap deploy/api --tap-route-limit 1 --cluster-domain example.org api",
	} {
		t.Run(name, func(t *testing.T) {
			b := newTapBed(t)
			b.then = untilCancelled
			r := b.run(t, "shop", append(strings.Fields(args), "--tap-duration", "1ms")...)
			golden(t, "profile-"+name+".txt", r)
			var tree map[string]any
			if err := yaml.Unmarshal([]byte(r.out), &tree); err != nil {
				t.Fatal(err)
			}
			if err := crdtest.Validate(tree); err != nil {
				t.Error(err)
			}
			asked, _ := b.seen()
			if len(asked) != 1 || asked[0].Direction != mesh.TapInbound || asked[0].MaxPerSecond != mesh.MaxTapRate {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

func TestProfileRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"profile":              "name one Service",
		"profile api":          "name with --tap what to watch",
		"profile --tap po a/b": `service "a/b"`,
		"profile --tap deploy/api --tap-duration -1s api":    "--tap-duration -1s: want more than 0",
		"profile --tap deploy/api --tap-route-limit 0 api":   "--tap-route-limit 0: want 1 to 1000",
		"profile --tap deploy/apj api":                       `did you mean "api"?`,
		"profile --tap deploy/api -o table api":              `output "table": want yaml or json`,
		"profile --tap deploy/api --tap-duration 1ms silent": "no request arrived at deploy/api in namespace shop within 1ms",
	} {
		b := newTapBed(t)
		b.then, b.messages = untilCancelled, nil
		r := b.run(t, "shop", strings.Fields(args)...)
		if r.fault == nil || !strings.Contains(r.fault.Error(), want) || r.out != "" {
			t.Errorf("%s: stdout %q, error %v; want %q", args, r.out, r.fault, want)
		}
	}
}

// TestProfileInterrupted: half a profile must not reach kubectl apply.
func TestProfileInterrupted(t *testing.T) {
	b := newTapBed(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.then = func(ctx context.Context) { cancel(); <-ctx.Done() }
	r := b.runIn(ctx, t, "shop", "profile", "--tap", "deploy/api", "api")
	if r.fault == nil || !strings.Contains(r.fault.Error(), "interrupted") || r.out != "" {
		t.Errorf("stdout %q, error %v", r.out, r.fault)
	}
}
