package metrics

import (
	"strings"
	"unicode"
)

// Printable returns at most limit bytes of a text that came over the wire, on one line and without control characters,
// so that it can go to a terminal. It ends a cut text with "...".
func Printable(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
