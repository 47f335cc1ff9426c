package values

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// literal is a value from a command line. Its type follows from the key and not from its spelling.
type literal string

// setExpr is one key=value of a --set flag. The value is a literal, or a []any of literals if it was written {a,b}.
type setExpr struct {
	path  []step
	value any
}

// step is one part of a key: a map's key or, if index is not negative, a position in a list.
type step struct {
	key   string
	index int
}

// maxIndex bounds the allocation for `list[n]`.
const maxIndex = 1000

// parseSet parses what Helm's --set accepts: key=value pairs separated by commas, keys with dots and [n], backslash
// escapes, {a,b} for lists. Unlike Helm it treats a comma inside a PEM value (a key that ends in PEM) as part of the
// value. So the text that some tools write around a certificate stays.
func parseSet(expr string) ([]setExpr, error) {
	var exprs []setExpr
	for rest := expr; rest != ""; {
		key, after, ok := cutUnescaped(rest, '=')
		if !ok {
			return nil, fmt.Errorf("%q: want key=value", rest)
		}
		path, err := parsePath(strings.TrimSpace(key))
		if err != nil {
			return nil, err
		}
		var value any
		if strings.HasSuffix(key, "PEM") {
			value, rest = cutPEM(after)
		} else if value, rest, err = cutValue(after); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		exprs = append(exprs, setExpr{path, value})
	}
	return exprs, nil
}

// cutPEM ends the value at the first comma that follows the end of a PEM block, or at the end of s.
func cutPEM(s string) (value literal, rest string) {
	for i := range len(s) {
		if s[i] == ',' && strings.HasSuffix(strings.TrimRight(s[:i], "\r\n \t"), "-----") {
			return literal(s[:i]), s[i+1:]
		}
	}
	return literal(s), ""
}

func cutValue(s string) (value any, rest string, err error) {
	if !strings.HasPrefix(s, "{") {
		v, rest, _ := cutUnescaped(s, ',')
		return literal(unescape(v)), rest, nil
	}
	body, rest, ok := cutUnescaped(s[1:], '}')
	if !ok {
		return nil, "", errors.New("the list lacks its closing brace")
	}
	if rest != "" && rest[0] != ',' {
		return nil, "", fmt.Errorf("%q follows a list", rest)
	}
	list := []any{}
	for body != "" {
		var item string
		item, body, _ = cutUnescaped(body, ',')
		list = append(list, literal(unescape(item)))
	}
	return list, strings.TrimPrefix(rest, ","), nil
}

// cutUnescaped cuts s at the first sep that no backslash precedes.
func cutUnescaped(s string, sep byte) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unescape removes the backslash before a comma, a brace, a dot, an equals sign, a bracket or a backslash. Any other
// backslash stays.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`,{}.=[]\`, s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func parsePath(key string) ([]step, error) {
	var path []step
	for rest, more := key, true; more; {
		var part string
		part, rest, more = cutUnescaped(rest, '.')
		name, brackets, indexed := cutUnescaped(part, '[')
		if name == "" {
			return nil, fmt.Errorf("key %q has an empty part", key)
		}
		path = append(path, step{key: unescape(name), index: -1})
		for indexed {
			digits, after, ok := strings.Cut(brackets, "]")
			n, err := strconv.Atoi(digits)
			if !ok || err != nil || n < 0 || n > maxIndex || after != "" && after[0] != '[' {
				return nil, fmt.Errorf("key %q: want [n] with n from 0 to %d", key, maxIndex)
			}
			path = append(path, step{index: n})
			brackets, indexed = strings.CutPrefix(after, "[")
		}
	}
	return path, nil
}

// setPath returns tree with value at path. It makes maps and lists on the way if they are missing or of another type.
func setPath(tree any, path []step, value any) any {
	if len(path) == 0 {
		return value
	}
	s := path[0]
	if s.index < 0 {
		m, ok := tree.(map[string]any)
		if !ok {
			m = map[string]any{}
		}
		m[s.key] = setPath(m[s.key], path[1:], value)
		return m
	}
	list, _ := tree.([]any)
	for len(list) <= s.index {
		list = append(list, nil)
	}
	list[s.index] = setPath(list[s.index], path[1:], value)
	return list
}
