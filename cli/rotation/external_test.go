package rotation

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestRotationWaitsForOtherPrograms lets a test be the program that keeps the issuer, or the bundle too: the command
// names what it waits for, and goes on when that is there.
func TestRotationWaitsForOtherPrograms(t *testing.T) {
	const issuer, both = "identity: {issuer: {scheme: kubernetes.io/tls}}",
		"identity: {externalCA: true, issuer: {scheme: kubernetes.io/tls}}"
	for name, values := range map[string]string{"the issuer": issuer, "the bundle too": both} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, false, values)
			files := given(t)
			old, _ := w.look()
			fresh, err := mesh.ParseRoots([]byte(files.Anchors))
			if err != nil {
				t.Fatal(err)
			}
			program := func(waits string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				roots := get[corev1.ConfigMap](w, "configmaps", mesh.TrustRootsConfigMap).DeepCopy()
				switch {
				case strings.Contains(waits, "another program to add"):
					roots.Data[mesh.TrustRootsKey] += files.Anchors
				case strings.Contains(waits, "another program to write an issuer"):
					secret := get[corev1.Secret](w, "secrets", mesh.IssuerSecret).DeepCopy()
					secret.Data["tls.crt"], secret.Data["tls.key"] = []byte(files.IssuerCert), []byte(files.IssuerKey)
					w.put("secrets", secret)
					return
				case strings.Contains(waits, "another program to drop"):
					roots.Data[mesh.TrustRootsKey] = files.Anchors
				default:
					return
				}
				w.put("configmaps", roots)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out programOutput
			out.program = program
			if err := w.run(ctx, Options{Given: Given{Anchors: files.Anchors}, Out: &out}); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			after, _ := w.look()
			if len(after) != 1 || !after[0].Equal(fresh[0]) || after[0].Equal(old[0]) {
				t.Errorf("the bundle has %s, want the given anchor alone", names(after))
			}
			want := 1
			if values == both {
				want = 3
			}
			if got := strings.Count(out.String(), "another program to"); got != want {
				t.Errorf("waited for another program %d times, want %d:\n%s", got, want, out.String())
			}
		})
	}
}

// programOutput gives each line to the program that the command waits for.
type programOutput struct {
	strings.Builder
	program func(line string)
}

func (p *programOutput) Write(line []byte) (int, error) {
	p.program(string(line))
	return p.Builder.Write(line)
}
