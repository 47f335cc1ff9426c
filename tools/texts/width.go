package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxColumns is the longest line. A tab counts as one column.
const maxColumns = 120

var (
	// directive matches a directive, a marker, or one word that cannot be broken.
	directive = regexp.MustCompile(`^\s*//(go:|\s*\+|\s*[^\s]*$)`)
	// preformatted matches a line of a comment that keeps its form.
	preformatted = regexp.MustCompile(`^\s*//(\t|\s{3})`)
	url          = regexp.MustCompile(`https?://\S+`)
)

// findWide returns a finding for line n of file if it is too wide and could be narrower: lines with a URL are exempt.
func findWide(file string, n int, line string) []finding {
	columns := utf8.RuneCountInString(strings.TrimRight(line, "\r\n"))
	if columns <= maxColumns || url.MatchString(line) {
		return nil
	}
	return []finding{
		{ruleWidth, file, n, fmt.Sprintf("%d columns", columns), fmt.Sprintf("break the line at %d", maxColumns)},
	}
}
