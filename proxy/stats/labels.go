package stats

import "strings"

// Labels is a rendered list of labels: name="value" pairs joined with commas, or "". It is comparable and serves as a map key.
type Labels string

// With returns the labels with one more; an empty value leaves it out, which means the same to Prometheus.
func (l Labels) With(name, value string) Labels {
	if value == "" {
		return l
	}
	var b strings.Builder
	b.Grow(len(l) + len(name) + len(value) + 4)
	if l != "" {
		b.WriteString(string(l))
		b.WriteByte(',')
	}
	b.WriteString(name)
	b.WriteString(`="`)
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return Labels(b.String())
}

// Join returns both lists as one.
func (l Labels) Join(more Labels) Labels {
	switch {
	case l == "":
		return more
	case more == "":
		return l
	default:
		return l + "," + more
	}
}

// Has reports whether a label of that name is there.
func (l Labels) Has(name string) bool {
	return strings.HasPrefix(string(l), name+`="`) || strings.Contains(string(l), `,`+name+`="`)
}
