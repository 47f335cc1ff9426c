package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/prometheustest"
)

// askPrometheus lets a Prometheus scrape the proxies under traffic, and runs every panel's expression.
func (s *shop) askPrometheus(t *testing.T) {
	s.openTroubles(t)
	api := s.startPrometheus(t)
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

// prometheus is the URL of one.
type prometheus string

func (s *shop) startPrometheus(t *testing.T) prometheus {
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
	return prometheus(prometheustest.Start(t, map[string]any{
		"global": map[string]any{"scrape_interval": "1s"}, "scrape_configs": jobs,
	}))
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
	res, err := http.Get(string(p) + "/api/v1/query?query=" + url.QueryEscape(expr))
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
