package compile

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Settings is what the annotations of one object say, and what is wrong with them.
type Settings struct {
	mesh.Settings
	Findings Findings
}

// ParseSettings reads o's annotations. A value that is none keeps what prior says, which is what the object said last,
// and is a Finding. Ports of o may have names; named is nil where they have none.
func ParseSettings(o metav1.Object, named mesh.PortNames, prior Settings) Settings {
	var out Settings
	for _, annotation := range mesh.SettingAnnotations {
		value, ok := o.GetAnnotations()[annotation]
		if !ok {
			continue
		}
		err := out.Set(annotation, value, named)
		if err == nil {
			continue
		}
		fallback := "the next default stays active"
		if last, ok := out.Retain(annotation, prior.Settings); ok {
			fallback = fmt.Sprintf("%q stays active", last)
		}
		out.Findings.invalid(annotation, fmt.Sprintf("%v; %s", err, fallback))
	}
	return out
}

// Equal compares what two settings say, not what is wrong with them.
func (s Settings) Equal(other Settings) bool { return s.Settings.Equal(other.Settings) }
