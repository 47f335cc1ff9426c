package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// quiet lists panels of Tulle's dashboards that show nothing where all is well, by dashboard and title, and why nothing
// in this test makes them show something.
var quiet = map[string]string{
	"authorization: Ended":                     "no policy changes while a connection is open",
	"mesh-health: Answers p99":                 "no target is asked for after the first scrape",
	"mesh-health: Failed questions of proxies": "the control plane answers",
	"mesh-health: Lost":                        "there is room, and somebody reads the log",
}

// ownPanels returns the queries of Tulle's own dashboards, and those that fill their variables.
func ownPanels(t *testing.T) (out []panel) {
	t.Helper()
	files, err := filepath.Glob("../viz/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	labelValues := regexp.MustCompile(`^label_values\((.*), ([^,]*)\)$`)
	fill := strings.NewReplacer("$__rate_interval", "5s", "$kind", "deployment", "$namespace", ".+", "$workload", ".+",
		"$service", ".+", "$route", ".+", "$server", ".+")
	titles := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Templating struct {
				List []struct{ Name, Definition string }
			}
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, v := range board.Templating.List {
			if m := labelValues.FindStringSubmatch(fill.Replace(v.Definition)); m != nil {
				out = append(out, panel{name + ": variable " + v.Name, fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), false})
			}
		}
		for _, p := range board.Panels {
			title := name + ": " + p.Title
			titles[title] = true
			for _, q := range p.Targets {
				out = append(out, panel{title, fill.Replace(q.Expr), quiet[title] != ""})
			}
		}
	}
	for title := range quiet {
		if !titles[title] {
			t.Errorf("quiet names %s, which is not a panel", title)
		}
	}
	return out
}

// controllers serves what docs/controller-metrics.md lists, each metric with one series, under the path of its
// component. That page is written from the controllers' registries.
func controllers(t *testing.T) (addr string) {
	t.Helper()
	page, err := os.ReadFile("../docs/controller-metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	texts, component := map[string]string{}, ""
	row := regexp.MustCompile("^\\| `(\\w+)` \\|.*\\| ([^|]*) \\|$")
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		switch line {
		case "## Destination controller":
			component = "/destination"
		case "## Identity controller":
			component = "/identity"
		case "## Injector":
			component = "/proxy-injector"
		}
		if m := row.FindStringSubmatch(line); m != nil {
			labels := ""
			for _, label := range strings.Split(m[2], ", ") {
				if label != "" {
					labels += label + `="one",`
				}
			}
			texts[component] += fmt.Sprintf("%s{%s} 1\n", m[1], labels)
		}
	}
	if len(texts) != 3 {
		t.Fatalf("docs/controller-metrics.md has %d components, want 3", len(texts))
	}
	const process = "go_goroutines 1\nprocess_cpu_seconds_total 1\nprocess_resident_memory_bytes 1\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, texts[r.URL.Path]+process)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
