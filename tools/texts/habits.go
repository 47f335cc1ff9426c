package main

import (
	"regexp"
	"slices"
	"strings"
)

// The rules, as notyet.txt names them.
const (
	ruleHabit = "habit"
	ruleWidth = "width"
	ruleWord  = "word"
)

// A habit is a turn of phrase that readers of English as a second language stumble over.
type habit struct {
	pattern *regexp.Regexp
	remedy  string
	fine    []string // ends of what the pattern matches that are not a habit
}

var habits = []habit{
	{regexp.MustCompile(`(?i)\bof\s+which\b`), "begin a new sentence", nil},
	{regexp.MustCompile(`(?i)\bwhoever\b`), "say who: the client, the operator, the caller", nil},
	{regexp.MustCompile(`(?i)\bcomes?\s+down\s+to\b`), "say is, or means", nil},
	{regexp.MustCompile(`(?i)\bat\s+a\s+stretch\b`), "say in a row, or at once", nil},
	{regexp.MustCompile(`(?i)\bby\s+turns\b`), "say alternately", nil},
	{
		regexp.MustCompile(`(?i)\b(is|are|was|were|be|stays?|remains?|stands?|comes?)\s+in\s+force\b`),
		"say is active, or applies",
		nil,
	},
	{
		regexp.MustCompile(`(?i)\b(is|are|was|were|be|been)\s+told\b`),
		"say who receives what: the proxy gets, the caller sees",
		nil,
	},
	{regexp.MustCompile(`(?i)\btells?\s+of\b`), "say reports, or names", nil},
	{regexp.MustCompile(`(?i)\bgoes\s+by\b`), "say follows, or uses", nil},
	{regexp.MustCompile(`(?:^|[.!?:;]\s+)Whose\b`), "begin with the subject", nil},
	{regexp.MustCompile(`(?i),?\s+or\s+else\b`), "say otherwise", nil},
	{
		regexp.MustCompile(`(?i)\b(it|that|this|which|who|one)\s+(is|was)\s+no\s+\w+`),
		"say is not a",
		[]string{"longer", "more"},
	},
	{regexp.MustCompile(`(?i)\bstands?\s+(above|below|beside|open|there|alone)\b`), "say is", nil},
	{regexp.MustCompile(`(?i)\bwhat\s+\w+\s+(says|say|said)\s+(is|are|was|were)\b`), "name the thing", nil},
	{regexp.MustCompile(`(?i)\blest\b`), "say so that … not", nil},
}

// findHabits returns a finding for each habit in text, whose first line is line of file.
func findHabits(file string, line int, text string) []finding {
	var found []finding
	for _, h := range habits {
		for _, at := range h.pattern.FindAllStringIndex(text, -1) {
			phrase := text[at[0]:at[1]]
			if slices.ContainsFunc(h.fine, func(end string) bool { return strings.HasSuffix(phrase, end) }) {
				continue
			}
			found = append(found, finding{
				rule: ruleHabit, file: file, line: line + strings.Count(text[:at[0]], "\n"),
				text: strings.Join(strings.Fields(strings.Trim(phrase, ".!?:; \t")), " "), remedy: h.remedy,
			})
		}
	}
	return found
}
