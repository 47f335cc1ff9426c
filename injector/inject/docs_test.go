package inject

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestAnnotationsAreDocumented keeps docs/annotations.md equal to the table.
func TestAnnotationsAreDocumented(t *testing.T) {
	var out strings.Builder
	out.WriteString(`# Annotations that configure a proxy

Written by ` + "`go test ./injector/inject -update`" + ` from the settings table. Put them on a pod template, or on a namespace for all its pods; the
pod's win. What Linkerd does not have is under ` + "`config.tulle.dev/`" + `. The prefixes ` + "`config.alpha.linkerd.io/` and `config.beta.linkerd.io/`" + ` are accepted too, but for what the destination
controller reads from running pods: opaque-ports, skip-inbound-ports, default-inbound-policy and proxy-require-identity-inbound-ports refuse the pod
under them. A value that is not accepted refuses the pod by
name; an unknown annotation is a warning with the nearest name that exists. The administrator's annotations are taken from namespaces
only, unless ` + "`podMaySet`" + ` of the installation's values lists them.

| annotation | accepts | default | where |
|---|---|---|---|
`)
	defaults := Defaults()
	for _, a := range annotations() {
		where := "pod, namespace"
		switch {
		case a.podOnly:
			where = "pod"
		case a.admin:
			where = "namespace (administrator)"
		case mesh.ConfigPrefix+a.key == mesh.OpaquePortsAnnotation:
			where = "pod, namespace, Service"
		}
		value := a.field.get(&defaults)
		if value == "" || value == "0s" {
			value = "–"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", a.name(), a.want, value, where)
	}
	fmt.Fprintf(&out, "\n`%s: \"true\"` on a pod or a namespace turns tap off too.\n", mesh.DisableTapAnnotation)
	fmt.Fprintf(&out, "\n`%s: \"true\"` on a namespace asks for [warnings](authorization.md#policies-from-traffic) "+
		"about policies that cut callers off.\n",
		mesh.PolicyWarnAnnotation)
	out.WriteString(
		"\n## Known to Linkerd, without effect in Tulle\n\n| annotation | why, and what to do instead |\n|---|---|\n")
	foreign := meaningless()
	for _, key := range slices.Sorted(maps.Keys(foreign)) {
		fmt.Fprintf(&out, "| `%s%s` | %s |\n", mesh.ConfigPrefix, key, foreign[key])
	}
	golden(t, filepath.Join("..", "..", "docs", "annotations.md"), []byte(out.String()))
}
