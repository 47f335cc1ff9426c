// Package main checks the texts of the project: sentences that habits make hard to read, lines that are too wide, and
// names that the dictionary has retired. It prints one line a finding, file:line: text: remedy, and exits with 1 when
// there are findings.
//
//	go run -C tools ./texts ..
//
// retired.txt holds the retired words. notyet.txt holds what is not clean yet.
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed retired.txt
var retiredText string

//go:embed notyet.txt
var notYetText string

func main() {
	all := flag.Bool("all", false, "also report what notyet.txt exempts")
	flag.Usage = func() {
		fmt.Fprintln(
			flag.CommandLine.Output(),
			"usage: texts [-all] ROOT [PREFIX ...]\n\nPREFIX limits the output to paths that begin with it.",
		)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	n, err := run(flag.Arg(0), flag.Args()[1:], *all)
	if err != nil {
		fmt.Fprintln(os.Stderr, "texts:", err)
		os.Exit(2)
	}
	if n > 0 {
		os.Exit(1)
	}
}

// run checks the files below root that git knows, prints the findings, and returns how many there are.
func run(root string, prefixes []string, all bool) (int, error) {
	dict, err := parseDictionary(retiredText)
	if err != nil {
		return 0, fmt.Errorf("read retired.txt: %w", err)
	}
	exempt, err := parseNotYet(notYetText)
	if err != nil {
		return 0, fmt.Errorf("read notyet.txt: %w", err)
	}
	files, err := tracked(root)
	if err != nil {
		return 0, err
	}
	var findings []finding
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted and not committed
		}
		if err != nil {
			return 0, err
		}
		found, err := check(name, text, dict)
		if err != nil {
			return 0, err
		}
		findings = append(findings, found...)
	}
	shown := 0
	for _, f := range findings {
		if !exempt.covers(f) && within(f.file, prefixes) || all && within(f.file, prefixes) {
			fmt.Println(f)
			shown++
		}
	}
	for _, line := range exempt.unused() {
		fmt.Printf("tools/texts/notyet.txt: %s: it is clean: remove the line\n", line)
		shown++
	}
	for _, name := range dict.unusedExceptions() {
		fmt.Printf("tools/texts/retired.txt: except %s: it does not exist: remove the line\n", name)
		shown++
	}
	return shown, nil
}

func within(path string, prefixes []string) bool {
	return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
}

// tracked returns the Go and Markdown files that git knows or would add, with slashes.
func tracked(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.go", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", root, err)
	}
	var files []string
	for name := range bytes.SplitSeq(bytes.TrimRight(out, "\x00"), []byte{0}) {
		files = append(files, string(name))
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// check returns the findings of one file.
func check(name string, text []byte, dict *dictionary) ([]finding, error) {
	switch filepath.Ext(name) {
	case ".go":
		return checkGo(name, text, dict)
	case ".md":
		return checkMarkdown(name, text), nil
	}
	return nil, nil
}

// A finding is one place that a rule forbids.
type finding struct {
	rule, file string
	line       int
	text       string
	remedy     string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.file, f.line, f.text, f.remedy)
}

// notYet lists the directories that a rule does not cover yet.
type notYet []*notYetLine

type notYetLine struct {
	rule, where string
	used        bool
}

// matches reports whether file is what the line names, or lies in it; DIR/... also covers the directories below DIR.
func (l *notYetLine) matches(file string) bool {
	if dir, ok := strings.CutSuffix(l.where, "/..."); ok {
		return under(file, dir)
	}
	return file == l.where || path.Dir(file) == l.where
}

// parseNotYet reads lines of a rule and a path.
func parseNotYet(text string) (notYet, error) {
	var list notYet
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || !slices.Contains([]string{ruleHabit, ruleWidth, ruleWord}, fields[0]) {
			return nil, fmt.Errorf("%q is not a rule and a path", strings.TrimSpace(line))
		}
		list = append(list, &notYetLine{rule: fields[0], where: fields[1]})
	}
	return list, nil
}

// covers reports whether f is exempt, and notes the line that exempts it.
func (n notYet) covers(f finding) bool {
	covered := false
	for _, line := range n {
		if line.rule == f.rule && line.matches(f.file) {
			line.used, covered = true, true
		}
	}
	return covered
}

func (n notYet) unused() []string {
	var lines []string
	for _, line := range n {
		if !line.used {
			lines = append(lines, line.rule+" "+line.where)
		}
	}
	return lines
}

// under reports whether file is prefix itself or lies below it.
func under(file, prefix string) bool {
	return file == prefix || strings.HasPrefix(file, strings.TrimSuffix(prefix, "/")+"/")
}
