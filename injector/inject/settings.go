package inject

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tulle-mesh/tulle/mesh"
)

// Settings are the values for one pod.
type Settings struct {
	Values
	// Warnings are for the pod's author: annotations without effect, with the nearest match.
	Warnings []string
	// explicit holds the keys that the pod or its namespace set itself.
	explicit map[string]bool
}

// TapID returns the SPIFFE ID of the workload that may watch the proxy; "" if nobody may.
func (s *Settings) TapID() string { return s.Proxy.Tap.id(s.TrustDomain) }

// prefixes of the annotations that Linkerd has, weakest first.
var prefixes = []string{"config.alpha.linkerd.io/", "config.beta.linkerd.io/", mesh.ConfigPrefix}

// Validate reports every value that an annotation of the same meaning would not be allowed to have.
func (v Values) Validate() error {
	var errs []error
	for _, a := range annotations() {
		if s := a.field.get(&v); s != "" {
			scratch := v
			if err := a.field.set(&scratch, s); err != nil {
				errs = append(errs, fmt.Errorf("%s %q: %s", a.key, s, a.wanted(err)))
			}
		}
	}
	if v.WebhookFailurePolicy != FailClosed && v.WebhookFailurePolicy != FailOpen {
		errs = append(errs, fmt.Errorf("webhookFailurePolicy %q: want %s or %s", v.WebhookFailurePolicy, FailClosed,
			FailOpen))
	}
	if tap := v.Proxy.Tap; tap.Enabled != TapOff {
		id := mesh.ID{TrustDomain: v.TrustDomain, Namespace: tap.Namespace, ServiceAccount: tap.ServiceAccount}
		if err := id.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("proxy.tap: %w", err))
		}
	}
	if v.Proxy.UID == 0 {
		errs = append(errs, errors.New("proxy.uid is 0: the proxy never runs as root"))
	}
	for _, key := range v.PodMaySet {
		if !slices.ContainsFunc(annotations(), func(a annotation) bool { return a.key == key && a.admin }) {
			errs = append(errs, fmt.Errorf("podMaySet: %q is not an annotation that is the administrator's", key))
		}
	}
	return errors.Join(append(errs, v.Proxy.Ports.distinct(), v.Proxy.Tracing.validate())...)
}

// ParseSettings applies the annotations of a pod's namespace and then the pod's own to defaults. The error names every
// annotation that has a bad value, or that only the administrator may set, and what is accepted instead; warnings come
// with an error too.
func ParseSettings(defaults Values, namespace, pod map[string]string) (Settings, error) {
	s := Settings{Values: defaults, explicit: map[string]bool{}}
	err := errors.Join(s.apply(namespace, onNamespace), s.disableTap(namespace, onNamespace))
	off := s.explicit["tap"] && s.Proxy.Tap.Enabled == TapOff
	err = errors.Join(err, s.apply(pod, onPod), s.disableTap(pod, onPod))
	if off {
		s.refuseTap(pod)
	}
	if err == nil {
		err = errors.Join(s.Proxy.Ports.distinct(), s.Proxy.Tracing.validate(), s.reconcileResources())
	}
	if err != nil {
		return Settings{Warnings: s.Warnings}, err
	}
	return s, nil
}

// disableTap reads Linkerd's annotation against tap.
func (s *Settings) disableTap(written map[string]string, where place) error {
	switch value := written[mesh.DisableTapAnnotation]; value {
	case "true":
		s.Proxy.Tap.Enabled, s.explicit["tap"] = TapOff, true
	case "false", "":
	default:
		return fmt.Errorf("annotation %s of the %s has the value %q: want true or false", mesh.DisableTapAnnotation, where,
			value)
	}
	return nil
}

// refuseTap is for a pod whose namespace turned tap off: who may create pods must not show what the namespace hides.
func (s *Settings) refuseTap(pod map[string]string) {
	const why = "annotation %s of the pod has no effect: its namespace turns tap off"
	if s.Proxy.Tap.Enabled != TapOff {
		s.Warnings = append(s.Warnings, fmt.Sprintf(why, mesh.OwnConfigPrefix+"tap"))
	}
	if pod[mesh.DisableTapAnnotation] == "false" {
		s.Warnings = append(s.Warnings, fmt.Sprintf(why, mesh.DisableTapAnnotation))
	}
	s.Proxy.Tap.Enabled = TapOff
}

// place is where an annotation was written.
type place string

const (
	onNamespace place = "namespace"
	onPod       place = "pod"
)

func (s *Settings) apply(written map[string]string, where place) error {
	var errs []error
	known := map[string]bool{}
	for _, a := range annotations() {
		for _, prefix := range a.prefixes() {
			known[prefix+a.key] = true
			value, ok := written[prefix+a.key]
			if !ok {
				continue
			}
			if err := s.set(a, prefix+a.key, strings.TrimSpace(value), where); err != nil {
				errs = append(errs, err)
			}
		}
	}
	s.warnUnknown(written, known, where)
	return errors.Join(errs...)
}

func (s *Settings) set(a annotation, name, value string, where place) error {
	switch {
	case slices.Contains(mesh.SettingAnnotations, mesh.ConfigPrefix+a.key) && name != mesh.ConfigPrefix+a.key:
		return fmt.Errorf(
			"annotation %s of the %s would have no effect: the destination controller reads only %s%s, so rename it",
			name, where, mesh.ConfigPrefix, a.key)
	case a.podOnly && where == onNamespace:
		s.Warnings = append(s.Warnings, fmt.Sprintf("annotation %s has no effect on a namespace: set it on the pod template",
			name))
		return nil
	case a.admin && where == onPod && !slices.Contains(s.PodMaySet, a.key):
		return fmt.Errorf(
			"annotation %s is the administrator's: set it on the namespace, or list %q in podMaySet of the installation",
			name, a.key)
	}
	if err := a.field.set(&s.Values, value); err != nil {
		return fmt.Errorf("annotation %s of the %s has the value %q: %s", name, where, value, a.wanted(err))
	}
	s.explicit[a.key] = true
	return nil
}

// maxUnknown bounds the annotations that one object gets a warning for: finding the nearest match is costly, and a pod
// may bring as many as fit into a request.
const maxUnknown = 10

func (s *Settings) warnUnknown(written map[string]string, known map[string]bool, where place) {
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if known[name] || !aboutInjection(name) || name == mesh.InjectAnnotation {
			continue
		}
		if unknown++; unknown > maxUnknown {
			continue
		}
		right, _ := Meant(name)
		s.Warnings = append(s.Warnings, unknownText(name, right, where))
	}
	if unknown > maxUnknown {
		s.Warnings = append(s.Warnings, fmt.Sprintf(
			"%d more annotations of the %s below config.linkerd.io or config.tulle.dev are unknown", unknown-maxUnknown, where))
	}
}

func unknownText(name, right string, where place) string {
	if why, ok := meaningless()[configKey(name)]; ok {
		return fmt.Sprintf("annotation %s has no effect in Tulle: %s", name, why)
	}
	text := fmt.Sprintf("annotation %s of the %s is unknown and has no effect", name, where)
	if right != "" {
		text += fmt.Sprintf("; did you mean %s?", right)
	}
	return text
}

// distinct reports two listeners on one port.
func (p Ports) distinct() error {
	seen := map[uint16]string{}
	for _, l := range []struct {
		name string
		port uint16
	}{{"inbound", p.Inbound}, {"outbound", p.Outbound}, {"admin", p.Admin}, {"control", p.Control}} {
		if other, ok := seen[l.port]; ok {
			return fmt.Errorf("the proxy's %s and %s ports are both %d", other, l.name, l.port)
		}
		seen[l.port] = l.name
	}
	return nil
}

// reconcileResources lowers a default request to a limit that was set below it, and reports an explicit pair that
// contradicts.
func (s *Settings) reconcileResources() error {
	r := &s.Proxy.Resources
	return errors.Join(
		s.reconcile("proxy-cpu", &r.CPU.Request, &r.CPU.Limit),
		s.reconcile("proxy-memory", &r.Memory.Request, &r.Memory.Limit),
		s.reconcile("proxy-ephemeral-storage", &r.EphemeralStorage.Request, &r.EphemeralStorage.Limit),
	)
}

func (s *Settings) reconcile(key string, request, limit *string) error {
	if *request == "" || *limit == "" {
		return nil
	}
	req, reqErr := resource.ParseQuantity(*request)
	lim, limErr := resource.ParseQuantity(*limit)
	if err := errors.Join(reqErr, limErr); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	switch {
	case req.Cmp(lim) <= 0:
	case !s.explicit[key+"-request"]:
		*request = *limit
	case !s.explicit[key+"-limit"]:
		*limit = *request
	default:
		return fmt.Errorf("annotation %s%s-request (%s) is above %s-limit (%s)", mesh.ConfigPrefix, key, *request, key,
			*limit)
	}
	return nil
}
