package convert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The bounds of an HTTPRoute. Source: the schema of gateway.networking.k8s.io/v1.
const (
	maxRules    = 16  // of a route
	maxMatches  = 64  // of a rule
	allMatches  = 128 // of all rules of a route
	maxBackends = 16  // of a rule
	maxFields   = 16  // headers or query parameters of a match
	maxPath     = 1024
)

// groups returns the rules in the order they have, in as many lists as routes are needed: a rule with more matches than it may have is
// several, and so is a route with more rules.
func groups(rules []any) [][]any {
	var out [][]any
	var current []any
	total := 0
	for _, r := range rules {
		for _, part := range parts(r.(map[string]any)) {
			matches, _ := part["matches"].([]any)
			n := max(1, len(matches)) // a rule without matches has the one of the prefix /
			if len(current) == maxRules || total+n > allMatches {
				out, current, total = append(out, current), nil, 0
			}
			current, total = append(current, part), total+n
		}
	}
	return append(out, current)
}

// parts returns a rule as several with no more matches than a rule may have. They have no name but the first: names are unique.
func parts(rule map[string]any) []map[string]any {
	matches, _ := rule["matches"].([]any)
	if len(matches) <= maxMatches {
		return []map[string]any{rule}
	}
	var out []map[string]any
	for len(matches) > 0 {
		n := min(len(matches), maxMatches)
		part := map[string]any{}
		for k, v := range rule {
			if k != "name" || out == nil {
				part[k] = v
			}
		}
		part["matches"] = matches[:n:n]
		out, matches = append(out, part), matches[n:]
	}
	return out
}

// groupName is the name of one of n routes, which is name if it is the only one. The order of the names is that of the routes: between
// equal matches of several routes it decides.
func groupName(name string, i, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s-%0*d", name, len(strconv.Itoa(n)), i+1)
}

// notInPath is what the path of an exact match or a prefix may not have. Source: the rules of HTTPPathMatch.
var notInPath = regexp.MustCompile(`//|/\./|/\.\./|%2[fF]|#|/\.\.?$`)

// pathCharacters are those of a path of an exact match or a prefix.
var pathCharacters = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$`)

// admittedPath reports whether the API server accepts a path match.
func admittedPath(match map[string]any) bool {
	value := text(match["value"])
	if match["type"] == "RegularExpression" {
		_, err := regexp.Compile(value)
		return err == nil && len(value) <= maxPath && value != ""
	}
	return strings.HasPrefix(value, "/") && len(value) <= maxPath && !notInPath.MatchString(value) && pathCharacters.MatchString(value)
}
