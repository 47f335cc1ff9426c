package stats

import "strings"

// Labels is a rendered list of labels: name="value" pairs joined with commas, or "". It is comparable and serves as a
// map key.
type Labels string

// With returns the labels with one more. It omits a label with an empty value, which means the same to Prometheus.
func (l Labels) With(name, value string) Labels { return l.Add(name, value) }

// Add returns the labels with further pairs of name and value. It omits a label with an empty value.
func (l Labels) Add(pairs ...string) Labels {
	size := len(l)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			size += len(pairs[i]) + len(pairs[i+1]) + len(`,=""`)
		}
	}
	if size == len(l) {
		return l
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(string(l))
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i])
		b.WriteString(`="`)
		escape(&b, pairs[i+1])
		b.WriteByte('"')
	}
	return Labels(b.String())
}

func escape(b *strings.Builder, value string) {
	if !strings.ContainsAny(value, "\\\"\n") {
		b.WriteString(value)
		return
	}
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
}

// Join returns the labels of both lists as one list.
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

// only returns the labels with these names. Their values must not need escapes.
func (l Labels) only(names ...string) (out Labels) {
	for _, name := range names {
		for _, start := range [...]string{name + `="`, `,` + name + `="`} {
			i := strings.Index(string(l), start)
			if i < 0 || start[0] != ',' && i > 0 {
				continue
			}
			value, _, _ := strings.Cut(string(l)[i+len(start):], `"`)
			out = out.With(name, value)
			break
		}
	}
	return out
}

// Has reports whether there is a label with that name.
func (l Labels) Has(name string) bool {
	return strings.HasPrefix(string(l), name+`="`) || strings.Contains(string(l), `,`+name+`="`)
}
