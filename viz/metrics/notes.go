package metrics

import (
	"slices"
	"strings"
)

// OriginPrefix begins the note that says which proxies the numbers come from, if they do not come from a Prometheus.
const OriginPrefix = "the numbers come from "

// WithoutOrigin returns the notes without the one about the origin, for a caller that has already said it.
func WithoutOrigin(notes []string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return strings.HasPrefix(n, OriginPrefix) })
}
