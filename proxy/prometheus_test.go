package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// askPrometheus lets a Prometheus scrape the proxies under traffic, and runs every panel's expression.
func (s *shop) askPrometheus(t *testing.T) {
	path, err := exec.LookPath("prometheus")
	if named := os.Getenv("PROMETHEUS"); named != "" {
		path, err = named, nil
	}
	if err != nil {
		t.Skip("there is no prometheus in the PATH")
	}
	s.openTroubles(t)
	api := s.startPrometheus(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			for _, call := range s.calls {
				_ = call() // what fails is missing in the answers
			}
			for _, call := range s.troubles {
				call()
			}
		}
	})
	for _, p := range append(panels(t), ownPanels(t)...) {
		if err := api.await(p.expr, p.empty); err != nil {
			t.Errorf("%s: %s: %v", p.dashboard, p.expr, err)
		}
	}
}

// prometheus is the address of one.
type prometheus string

func (s *shop) startPrometheus(t *testing.T, path string) prometheus {
	t.Helper()
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var targets []target
	for p, labels := range s.pods() {
		targets = append(targets, target{Targets: []string{p.Addresses().Admin.String()}, Labels: labels})
	}
	jobs := []map[string]any{{"job_name": "linkerd-proxy", "static_configs": targets}}
	control := controllers(t)
	for _, component := range []string{"destination", "identity", "proxy-injector"} {
		jobs = append(jobs, map[string]any{
			"job_name": component, "metrics_path": "/" + component, "static_configs": []target{{Targets: []string{control},
				Labels: map[string]string{"job": "linkerd-controller", "component": component}}},
		})
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global": map[string]any{"scrape_interval": "1s"}, "scrape_configs": jobs,
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(path, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+
		filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=error")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return prometheus(addr)
}

// await asks until there is an answer: at least one number, unless the panel is empty where all is well.
func (p prometheus) await(expr string, empty bool) error {
	err := fmt.Errorf("no answer")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(200 * time.Millisecond) {
		var n int
		if n, err = p.query(expr); err == nil && (n > 0 || empty) {
			return nil
		} else if err == nil {
			err = fmt.Errorf("nothing")
		}
	}
	return err
}

// query returns how many numbers the answer has.
func (p prometheus) query(expr string) (numbers int, err error) {
	res, err := http.Get("http://" + string(p) + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Value [2]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			numbers++
		}
	}
	return numbers, nil
}
