package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
)

// maxExceptions is how many identifiers may keep a retired word.
const maxExceptions = 10

// dictionary holds the retired words of retired.txt.
type dictionary struct {
	words      map[string][]retired
	pairs      [][2]string
	exceptions map[string]bool // "dir identifier" → seen
}

// retired is one word, where it is retired, and what replaces it.
type retired struct {
	dirs      []string // nil: everywhere
	remedy    string
	sentences bool // names of tests may have it
}

// parseDictionary reads the format that the head of retired.txt describes.
func parseDictionary(text string) (*dictionary, error) {
	d := &dictionary{words: map[string][]retired{}, exceptions: map[string]bool{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case fields[0] == "allow" && len(fields) == 3:
			d.pairs = append(d.pairs, [2]string{fields[1], fields[2]})
		case fields[0] == "except":
			names, reason, _ := strings.Cut(strings.TrimPrefix(line, "except"), ":")
			fields = strings.Fields(names)
			if len(fields) != 2 || strings.TrimSpace(reason) == "" {
				return nil, fmt.Errorf("%q is not: except IDENTIFIER DIRECTORY: REASON", line)
			}
			d.exceptions[fields[1]+" "+fields[0]] = false
		default:
			parts := strings.Split(line, "|")
			if len(parts) != 3 {
				return nil, fmt.Errorf("%q is not: WORD | where | what to say instead", line)
			}
			word, sentences := strings.CutSuffix(strings.TrimSpace(parts[0]), "*")
			r := retired{remedy: strings.TrimSpace(parts[2]), sentences: sentences}
			if r.dirs = strings.Fields(parts[1]); slices.Equal(r.dirs, []string{"everywhere"}) {
				r.dirs = nil
			}
			d.words[word] = append(d.words[word], r)
		}
	}
	if len(d.exceptions) > maxExceptions {
		return nil, fmt.Errorf("%d exceptions: there may be %d", len(d.exceptions), maxExceptions)
	}
	return d, nil
}

// findRetired returns a finding for each name of file that has a retired word.
func (d *dictionary) findRetired(file string, names []name) []finding {
	var found []finding
	for _, n := range names {
		words := split(n.text)
		for i, word := range words {
			for _, r := range d.words[word] {
				if n.test && r.sentences || !r.covers(file) || d.allowed(words, i) || d.excepted(file, n.text) {
					continue
				}
				text := n.text
				if text != word {
					text += " (" + word + ")"
				}
				found = append(found, finding{ruleWord, file, n.line, text, "the word is retired: say " + r.remedy})
			}
		}
	}
	return found
}

func (r retired) covers(file string) bool {
	return r.dirs == nil || slices.ContainsFunc(r.dirs, func(dir string) bool { return under(file, dir) })
}

// allowed reports whether the word at i is part of an allowed pair.
func (d *dictionary) allowed(words []string, i int) bool {
	for _, p := range d.pairs {
		if i > 0 && words[i-1] == p[0] && words[i] == p[1] || i+1 < len(words) && words[i] == p[0] && words[i+1] == p[1] {
			return true
		}
	}
	return false
}

func (d *dictionary) excepted(file, name string) bool {
	key := path.Dir(file) + " " + name
	_, ok := d.exceptions[key]
	if ok {
		d.exceptions[key] = true
	}
	return ok
}

func (d *dictionary) unusedExceptions() []string {
	var names []string
	for key, seen := range d.exceptions {
		if !seen {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names
}

// split returns the words of an identifier in lower case: HTTPServer_name is http, server, name.
func split(identifier string) []string {
	var words []string
	start, runes := 0, []rune(identifier)
	end := func(at int) {
		if at > start {
			words = append(words, strings.ToLower(string(runes[start:at])))
		}
		start = at
	}
	for i, r := range runes {
		switch {
		case r == '_':
			end(i)
			start = i + 1
		case i == 0 || !unicode.IsUpper(r):
		case !unicode.IsUpper(runes[i-1]), i+1 < len(runes) && unicode.IsLower(runes[i+1]):
			end(i)
		}
	}
	end(len(runes))
	return words
}
