package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
	"github.com/tulle-mesh/tulle/test/bench/systems"
)

const (
	// crowdSize is how many endpoints the Service has, and crowdChanges how many of them change a second.
	crowdSize    = 10_000
	crowdChanges = 100
	// crowdAcquaintance is after how many requests the client's proxy is connected to nearly all of them: one that it has
	// no connection to yet makes a request as slow as a handshake, with or without changes. Of two endpoints that it
	// draws, it prefers the one that it knows, so the share u of strangers falls by u²/crowdSize a request: to a
	// sixteenth, which one request in 256 still meets.
	crowdAcquaintance = 15 * crowdSize
	crowdWarmup       = time.Minute // at most
)

// push is what the client's proxy, which knew of one endpoint, uses and grows by when it gets all of them.
func push(ctx context.Context, n *lane) (figures, error) {
	if err := rest(ctx, n.bench.plan.pause); err != nil {
		return nil, err
	}
	client, err := n.client()
	if err != nil {
		return nil, err
	}
	memory, used := client.Memory(), client.CPU()
	_, err = n.load(func() (time.Duration, error) {
		return 0, errors.Join(n.gather(ctx), rest(ctx, n.bench.plan.pause))
	})
	if err != nil {
		return nil, err
	}
	after := client.Memory()
	return figures{"push.cpu_seconds": (client.CPU() - used).Seconds(),
		"push.growth":      float64(after.Resident - memory.Resident),
		"push.anon_growth": float64(after.Anonymous - memory.Anonymous)}, nil
}

// turnover is latencies at the same rate in one lane, first while nothing changes and then while endpoints come and go.
// The rate is the low one: over ten thousand connections hardly two requests share a read or a write, so each costs
// three times what W1's does, and the high rate is more than two CPUs can do.
func turnover(ctx context.Context, n *lane) (figures, error) {
	if err := n.gather(ctx); err != nil {
		return nil, err
	}
	if err := n.acquaint(ctx); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	f, err := steady("still", lowShare, systems.HTTP)(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := n.command(ctx, fmt.Sprintf("changes?rate=%d", crowdChanges)); err != nil {
		return nil, err
	}
	profiled := n.profile(ctx, "turnover")
	before, err := n.upheaval(ctx)
	if err != nil {
		return nil, errors.Join(err, profiled())
	}
	during, err := steady("churn", lowShare, systems.HTTP)(ctx, n)
	if err := errors.Join(err, profiled()); err != nil {
		return nil, err
	}
	after, err := n.upheaval(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(f, during)
	return f, after.since(before).figures(f)
}

// upheaval is what became of the endpoints' changes: how many the control plane made, and how often the client's proxy
// heard of some.
type upheaval struct {
	at          time.Time
	wall        time.Duration // in a difference of two
	made, heard float64
}

func (n *lane) upheaval(ctx context.Context) (u upheaval, err error) {
	made, err := exchange(ctx, http.MethodGet, fmt.Sprintf("http://%s/changes", systems.PlaneControl))
	if err != nil {
		return u, err
	}
	metrics, err := exchange(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", systems.TulleOutAdmin))
	return upheaval{at: time.Now(), made: number(made), heard: sumOf(p2cUpdates, metrics)}, err
}

func (u upheaval) since(earlier upheaval) upheaval {
	return upheaval{wall: u.at.Sub(earlier.at), made: u.made - earlier.made, heard: u.heard - earlier.heard}
}

// figures adds the rates to f. Latencies that were taken while little changed, or while the proxy did not hear of it,
// are an error.
func (u upheaval) figures(f figures) error {
	changes, heard := u.made/u.wall.Seconds(), u.heard/u.wall.Seconds()
	if changes < 0.9*crowdChanges || heard == 0 {
		return fmt.Errorf(
			"%.0f endpoints a second changed, and the client's proxy heard of changes %.1f times: want %d changes, and that "+
				"it hears of them",
			changes, heard, crowdChanges)
	}
	f["churn.changes"], f["churn.heard"] = changes, heard
	return nil
}

// acquaint runs the closed loop until the client's proxy knows nearly all endpoints.
func (n *lane) acquaint(ctx context.Context) error {
	var requests float64
	for end := time.Now().Add(crowdWarmup); requests < crowdAcquaintance && time.Now().Before(end); {
		o, _, err := n.wrk(ctx, "/200", 64, 2*time.Second)
		if err != nil {
			return err
		}
		requests += o.Requests
	}
	return nil
}

// client is the client's proxy.
func (n *lane) client() (*lab.Process, error) {
	for _, p := range n.pair {
		if p.Name == systems.TulleOut {
			return p, nil
		}
	}
	return nil, errors.New("the pair has no client's half")
}

// gather makes the Service have all of its endpoints, and waits until the client's proxy balances over them.
func (n *lane) gather(ctx context.Context) error {
	if err := n.command(ctx, fmt.Sprintf("endpoints?count=%d", crowdSize)); err != nil {
		return err
	}
	for {
		known, err := balanced(ctx)
		if err != nil {
			return err
		}
		if known == crowdSize {
			return nil
		}
		if err := rest(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the client's proxy knows %g of %d endpoints: %w", known, crowdSize, err)
		}
	}
}

// command tells the control plane what to do.
func (n *lane) command(ctx context.Context, what string) error {
	_, err := exchange(ctx, http.MethodPost, fmt.Sprintf("http://%s/%s", systems.PlaneControl, what))
	return err
}

// p2cEndpoints is what the client's proxy says of its balancer.
var p2cEndpoints = regexp.MustCompile(`(?m)^outbound_http_balancer_p2c_endpoints(?:\{[^}]*\})? (\S+)$`)

// p2cUpdates is how often the client's proxy got other endpoints.
var p2cUpdates = regexp.MustCompile(`(?m)^outbound_http_balancer_p2c_updates_total(?:\{[^}]*\})? (\S+)$`)

// balanced is how many endpoints the client's proxy balances over.
func balanced(ctx context.Context) (float64, error) {
	text, err := exchange(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", systems.TulleOutAdmin))
	if err != nil {
		return 0, err
	}
	return sumOf(p2cEndpoints, text), nil
}

// sumOf adds up the numbers that the pattern's group finds.
func sumOf(pattern *regexp.Regexp, text []byte) float64 {
	var sum float64
	for _, m := range pattern.FindAllSubmatch(text, -1) {
		sum += number(m[1])
	}
	return sum
}

// exchange is one HTTP request of the bench itself.
func exchange(ctx context.Context, method, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	request.Host = "localhost"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("ask %s: %s: %s", url, response.Status, body), err)
	}
	return body, nil
}
