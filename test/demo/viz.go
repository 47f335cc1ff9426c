package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/test/step"
)

// shortestWindow is that of viz.
const shortestWindow = 15 * time.Second

// deviation is how far viz may be from the customers' own count.
const deviation = 0.02

// viz runs a command of viz and returns what it prints.
func (d *demo) viz(ctx context.Context, args ...string) (string, error) {
	return step.Output(ctx, "", d.env(), d.tulle(), append([]string{"viz"}, args...)...)
}

func (d *demo) installViz(ctx context.Context) (string, error) {
	manifest, err := d.viz(ctx, "install")
	if err != nil {
		return "", err
	}
	out, err := d.kubectl(ctx, manifest+"\n", "apply", "-f", "-")
	return countChanges(out), err
}

func (d *demo) checkViz(ctx context.Context) (string, error) {
	out, err := d.viz(ctx, "check", "--wait", "3m", "--proxy", "-n", namespace)
	if err == nil && !d.own && strings.Contains(out, "‼") { // a pod that cannot be watched is a warning
		err = fmt.Errorf("warnings on a new cluster:\n%s", out)
	}
	return step.Tail(out, 1), err
}

// rates are requests per second and the share of them that succeeded.
type rates struct{ perSecond, success float64 }

func (r rates) String() string {
	return fmt.Sprintf("%.1f requests a second with %.2f %% success", r.perSecond, 100*r.success)
}

// agree returns an error if r differs from the customers' count.
func (r rates) agree(customers rates) error {
	if math.Abs(r.perSecond-customers.perSecond) > deviation*customers.perSecond ||
		math.Abs(r.success-customers.success) > deviation {
		return fmt.Errorf("viz counts %s, the customers %s: more than %.0f %% apart", r, customers, 100*deviation)
	}
	return nil
}

// seen returns what viz knows of the customers' requests.
func (d *demo) seen(ctx context.Context, window time.Duration) (rates, error) {
	out, err := d.viz(ctx, "stat", "deploy/web", "-n", namespace, "--from", "deploy/load", "-o", "json", "-t",
		window.String())
	if err != nil {
		return rates{}, err
	}
	return parseStat(out)
}

func parseStat(out string) (rates, error) {
	var rows []struct{ Success, RPS *float64 }
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return rates{}, fmt.Errorf("decode viz stat: %w", err)
	}
	if len(rows) != 1 || rows[0].RPS == nil || rows[0].Success == nil {
		return rates{}, errors.New("viz stat has no traffic from load to web yet")
	}
	return rates{*rows[0].RPS, *rows[0].Success}, nil
}

// count is how many requests the customers have had answered, at a time.
type count struct {
	at         time.Time
	ok, failed uint64
}

// since returns the rates after an earlier count.
func (c count) since(earlier count) rates {
	ok, failed := float64(c.ok-earlier.ok), float64(c.failed-earlier.failed)
	return rates{(ok + failed) / c.at.Sub(earlier.at).Seconds(), ok / (ok + failed)}
}

// customers reads the load generator's own count through the API server.
func (d *demo) customers(ctx context.Context, pods []pod) (c count, err error) {
	for _, p := range pods {
		if p.workload() != "load" {
			continue
		}
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/stats", namespace, p.Metadata.Name)
		out, err := d.kubectl(ctx, "", "get", "--raw", path)
		if err != nil {
			return c, fmt.Errorf("read the customers' count: %w", err)
		}
		return parseCustomers(out)
	}
	return c, errors.New("there is no pod of load")
}

func parseCustomers(out string) (count, error) {
	c := count{at: time.Now()}
	var counts map[string]struct{ OK, Failed uint64 }
	if err := json.Unmarshal([]byte(out), &counts); err != nil {
		return c, fmt.Errorf("decode the customers' count: %w", err)
	}
	for _, name := range []string{"list", "cart", "checkout"} { // prices are messages of WebSockets
		c.ok, c.failed = c.ok+counts[name].OK, c.failed+counts[name].Failed
	}
	return c, nil
}
