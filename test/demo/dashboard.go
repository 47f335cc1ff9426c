package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// openDashboard starts the dashboard, opens the address that it prints as a browser does, and wants the shop there.
func (d *demo) openDashboard(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.tulle(), "viz", "dashboard", "--show", "url")
	cmd.Env = append(os.Environ(), d.env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the dashboard: %w", err)
	}
	shown, err := readDashboard(ctx, out)
	cancel()
	_ = cmd.Wait() // it was interrupted
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, said.String())
	}
	return shown, nil
}

// readDashboard returns what the dashboard at the printed address shows.
func readDashboard(ctx context.Context, printed io.Reader) (string, error) {
	address, err := parseAddress(printed)
	if err != nil {
		return "", err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar}
	if _, err := get(ctx, client, address.String()); err != nil { // the session begins
		return "", err
	}
	page := *address
	page.Path, page.RawQuery = "/api/page", url.Values{"page": {"overview"}, "namespace": {namespace}}.Encode()
	text, err := get(ctx, client, page.String())
	if err != nil {
		return "", err
	}
	names, err := parseOverview(text)
	return "it shows " + strings.Join(names, ", "), err // without its address, where it has ended
}

// parseAddress returns the first address in what the dashboard prints.
func parseAddress(printed io.Reader) (*url.URL, error) {
	lines := bufio.NewScanner(printed)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			return url.Parse(lines.Text())
		}
	}
	return nil, fmt.Errorf("the dashboard printed no address: %w", lines.Err())
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the dashboard answers %s: %s", resp.Status, text)
	}
	return text, err
}

// parseOverview returns the workloads of the page, which must be those of the shop.
func parseOverview(text []byte) (names []string, err error) {
	var page struct{ Workloads []struct{ Name string } }
	if err := json.Unmarshal(text, &page); err != nil {
		return nil, fmt.Errorf("decode the overview: %w", err)
	}
	have := map[string]bool{}
	for _, w := range page.Workloads {
		names = append(names, w.Name)
		have[w.Name] = true
	}
	for _, x := range expected {
		if !have[x.src] || !have[x.dst] {
			return nil, fmt.Errorf("the overview shows %q, want %s and %s too", names, x.src, x.dst)
		}
	}
	return names, nil
}
