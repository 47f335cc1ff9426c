package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// Settings is what the annotations of one pod, Service or namespace say while it runs. The injector reads them at
// admission, the destination controller from then on. A nil set or an empty policy says nothing.
type Settings struct {
	Opaque          *PortSet
	OpaqueNames     []string // of ports, in a namespace: each pod has its own of that name
	RequireIdentity *PortSet
	SkipInbound     *PortSet
	Policy          AccessPolicy
}

// SettingAnnotations lists the annotations of Settings. They have an effect under their stable prefix only.
var SettingAnnotations = []string{RequireIdentityPortsAnnotation, SkipInboundPortsAnnotation,
	DefaultInboundPolicyAnnotation, OpaquePortsAnnotation}

// PortNames returns the ports of an object that have a name, nil if none has it.
type PortNames func(name string) []uint16

// Set sets what the value of one of SettingAnnotations says; with an error it says nothing. Ports may have names that
// named knows. White space around a value does not count. Without named only opaque ports may have names, which are
// resolved later.
func (s *Settings) Set(annotation, value string, named PortNames) (err error) {
	switch annotation {
	case OpaquePortsAnnotation:
		if named == nil {
			return s.setOpaqueLater(value)
		}
		s.Opaque, err = parsePorts(value, named)
	case RequireIdentityPortsAnnotation:
		s.RequireIdentity, err = parsePorts(value, named)
	case SkipInboundPortsAnnotation:
		s.SkipInbound, err = parsePorts(value, named)
	case DefaultInboundPolicyAnnotation:
		s.Policy, err = ParseAccessPolicy(strings.TrimSpace(value))
	default:
		err = fmt.Errorf("annotation %s is not a setting", annotation)
	}
	return err
}

func (s *Settings) setOpaqueLater(value string) error {
	set, names, err := parseNamedPorts(value)
	if err != nil {
		return err
	}
	s.Opaque, s.OpaqueNames = &set, names
	return nil
}

func parsePorts(value string, named PortNames) (*PortSet, error) {
	set, err := ParsePortSet(value, named)
	if err != nil {
		return nil, err
	}
	return &set, nil
}

// Retain takes from prior what one of SettingAnnotations said, and returns it as text; ok is false if it said nothing.
func (s *Settings) Retain(annotation string, prior Settings) (text string, ok bool) {
	switch annotation {
	case OpaquePortsAnnotation:
		s.Opaque, s.OpaqueNames = prior.Opaque, prior.OpaqueNames
		return textOf(prior.Opaque)
	case RequireIdentityPortsAnnotation:
		s.RequireIdentity = prior.RequireIdentity
		return textOf(prior.RequireIdentity)
	case SkipInboundPortsAnnotation:
		s.SkipInbound = prior.SkipInbound
		return textOf(prior.SkipInbound)
	case DefaultInboundPolicyAnnotation:
		s.Policy = prior.Policy
		return string(prior.Policy), prior.Policy != ""
	}
	return "", false
}

func textOf(set *PortSet) (string, bool) {
	if set == nil {
		return "", false
	}
	return set.String(), true
}

// Equal reports whether two settings say the same.
func (s Settings) Equal(other Settings) bool {
	same := func(a, b *PortSet) bool { return (a == nil) == (b == nil) && (a == nil || slices.Equal(*a, *b)) }
	return s.Policy == other.Policy && same(s.Opaque, other.Opaque) &&
		slices.Equal(s.OpaqueNames, other.OpaqueNames) && same(s.RequireIdentity, other.RequireIdentity) &&
		same(s.SkipInbound, other.SkipInbound)
}
