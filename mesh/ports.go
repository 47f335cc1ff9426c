package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is an inclusive range of ports; First == Last for a single one.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Contains reports whether port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// String returns the range as ParsePortSet reads it: 80 or 80-90.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// PortSet is a list of ranges, sorted and without overlap.
type PortSet []PortRange

// Contains reports whether port lies in any range of the set.
func (s PortSet) Contains(port uint16) bool {
	return slices.ContainsFunc(s, func(r PortRange) bool { return r.Contains(port) })
}

// String returns the set as ParsePortSet reads it.
func (s PortSet) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// NewPortSet returns the set of these ports.
func NewPortSet(ports ...uint16) PortSet {
	s := make(PortSet, len(ports))
	for i, p := range ports {
		s[i] = PortRange{p, p}
	}
	return s.normalize()
}

// ParsePortSet reads a comma-separated list of ports and ranges such as "25,6379,9000-9010", and names of ports if
// named is not nil: it returns the ports of an object with that name, nil for an unknown name. It ignores space around
// a part. An empty list gives a nil set. The error for any other part quotes it. A part such as 8080-tcp is a name, not
// a range.
func ParsePortSet(s string, named func(name string) []uint16) (PortSet, error) {
	var set PortSet
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		ranges, err := parsePortPart(part, named)
		if err != nil {
			return nil, err
		}
		set = append(set, ranges...)
	}
	return set.normalize(), nil
}

func parsePortPart(part string, named func(string) []uint16) ([]PortRange, error) {
	if first, last, ok := strings.Cut(part, "-"); ok {
		a, errA := parsePort(first)
		b, errB := parsePort(last)
		if errA == nil && errB == nil && a <= b {
			return []PortRange{{a, b}}, nil
		}
	} else if p, err := parsePort(part); err == nil {
		return []PortRange{{p, p}}, nil
	}
	if named == nil {
		return nil, fmt.Errorf("%q is not a port (1-65535) or a range first-last", part)
	}
	ports := named(part)
	if ports == nil {
		return nil, fmt.Errorf("%q is not a port (1-65535), a range first-last or the name of one of its ports", part)
	}
	ranges := make([]PortRange, len(ports))
	for i, p := range ports {
		ranges[i] = PortRange{p, p}
	}
	return ranges, nil
}

// parseNamedPorts reads a list for objects that are not known yet, such as the pods of a namespace: names stand for the
// ports that each object calls so, if any.
func parseNamedPorts(s string) (set PortSet, names []string, err error) {
	wrong := ""
	set, err = ParsePortSet(s, func(name string) []uint16 {
		if !isPortName(name) {
			wrong = name
			return nil
		}
		names = append(names, name)
		return []uint16{}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%q is not a port (1-65535), a range first-last or the name of a port", wrong)
	}
	return set, names, nil
}

// isPortName reports whether a container's port may have the name (RFC 6335 §5.1, in lower case as Kubernetes wants
// it).
func isPortName(s string) bool {
	letter := false
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z':
			letter = true
		case '0' <= c && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1 && s[i-1] != '-':
		default:
			return false
		}
	}
	return letter && len(s) <= 15
}

func parsePort(s string) (uint16, error) {
	p, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err == nil && p == 0 {
		err = strconv.ErrRange
	}
	return uint16(p), err
}

// normalize sorts the ranges and joins those that touch or overlap.
func (s PortSet) normalize() PortSet {
	slices.SortFunc(s, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var out PortSet
	for _, r := range s {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// With returns the set that has port too. It does not change s.
func (s PortSet) With(port uint16) PortSet {
	if s.Contains(port) {
		return s
	}
	return append(s[:len(s):len(s)], PortRange{port, port}).normalize()
}

// Without returns the set that lacks port. It does not change s.
func (s PortSet) Without(port uint16) PortSet {
	if !s.Contains(port) {
		return s
	}
	out := make(PortSet, 0, len(s)+1)
	for _, r := range s {
		if !r.Contains(port) {
			out = append(out, r)
			continue
		}
		if r.First < port {
			out = append(out, PortRange{r.First, port - 1})
		}
		if port < r.Last {
			out = append(out, PortRange{port + 1, r.Last})
		}
	}
	return out
}
