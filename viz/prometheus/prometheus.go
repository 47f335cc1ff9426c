// Package prometheus asks a Prometheus for the numbers of the mesh, or a server with its API, such as Thanos or Mimir.
//
// It owns the connection, its credentials, the bounds of an answer and the texts of its errors. The one idea: an error
// names the URL and what to do, because the user may have chosen the URL.
package prometheus

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Timeout bounds Ask if Config.Timeout is 0.
const Timeout = 10 * time.Second

// ProxyJob is the job of the proxies' series where Config says nothing else: Linkerd's, that of the viz extension's
// Prometheus and that of its PodMonitor.
const ProxyJob = "linkerd-proxy"

const (
	// maxAnswer bounds the bytes of one answer.
	maxAnswer = 64 << 20
	// parallel bounds the queries in flight for one question, and maxRunning those for all: a Prometheus runs 20 at once
	// by default, for all its users.
	parallel   = 8
	maxRunning = 16
	// maxText bounds what an error repeats of an answer.
	maxText = 300
)

// Config says where a Prometheus is.
type Config struct {
	URL             string
	BearerTokenFile string // sent to the URL's host; read for each request, because tokens rotate. "" sends none
	CAFile          string // PEM; read for each connection, because CAs rotate too. "" means the system's
	// Jobs are the jobs that read proxies; none means ProxyJob. Only their series count, because an application that the
	// same Prometheus reads can write series with any other labels.
	Jobs []string
	// Dial makes the connections, such as port-forwards; nil dials the host of the URL.
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Timeout time.Duration // of Ask; 0 means Timeout
}

// Source asks one Prometheus. Its methods may be called by several goroutines.
type Source struct {
	api     promv1.API
	name    string // the URL without its password
	jobs    []string
	running chan struct{} // holds one value for each query that runs
	timeout time.Duration
}

// New returns a Source for the configuration, or an error about its URL or CA. It sends nothing.
func New(c Config) (*Source, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("URL %q of Prometheus: want one such as http://prometheus.monitoring:9090",
			metrics.Printable(c.URL, maxText))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.Dial != nil {
		transport.DialContext, transport.Proxy = c.Dial, nil
	}
	if c.CAFile != "" {
		if transport.TLSClientConfig, err = tlsConfig(c.CAFile); err != nil {
			return nil, err
		}
		transport.DialTLSContext = tlsDialer(c.CAFile, transport.DialContext, transport.TLSHandshakeTimeout)
	}
	client, err := api.NewClient(api.Config{Address: c.URL,
		RoundTripper: &roundTripper{next: transport, target: u, tokenFile: c.BearerTokenFile}})
	if err != nil {
		return nil, fmt.Errorf("make a client of Prometheus at %s: %w", u.Redacted(), err)
	}
	s := &Source{api: promv1.NewAPI(client), name: u.Redacted(), timeout: c.Timeout, jobs: c.Jobs,
		running: make(chan struct{}, maxRunning)}
	if len(s.jobs) == 0 {
		s.jobs = []string{ProxyJob}
	}
	if s.timeout == 0 {
		s.timeout = Timeout
	}
	return s, nil
}

// tlsConfig returns a configuration that trusts the CAs of a PEM file only.
func tlsConfig(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA of Prometheus: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA of Prometheus: %s has no PEM certificate", file)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// tlsDialer returns how connections are made that trust the CAs that file has at that time.
func tlsDialer(
	file string, dial func(ctx context.Context, network, addr string) (net.Conn, error), timeout time.Duration,
) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config, err := tlsConfig(file)
		if err != nil {
			return nil, err
		}
		if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, err
		}
		config.NextProtos = []string{"h2", "http/1.1"}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secured, nil
	}
}

// shortWindow is the shortest window that surely holds two samples of each series, as an increase needs, if Prometheus
// scrapes every 10 s. A window under about 25 s may hold only one.
const shortWindow = 30 * time.Second

// nothingIncreased reports whether there are queries for an increase, and all of them have no samples.
func nothingIncreased(queries []metrics.Query, samples [][]metrics.Sample) bool {
	asked := false
	for i, q := range queries {
		if !q.Now && len(samples[i]) > 0 {
			return false
		}
		asked = asked || !q.Now
	}
	return asked
}

// Ask implements metrics.Source. The time limit is for all queries together.
func (s *Source) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	if err := metrics.Validate(window, queries); err != nil {
		return metrics.Answer{}, err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	group, groupCtx := errgroup.WithContext(limited)
	group.SetLimit(parallel)
	samples := make([][]metrics.Sample, len(queries))
	warnings := make([]promv1.Warnings, len(queries))
	for i, q := range queries {
		group.Go(func() (err error) {
			samples[i], warnings[i], err = s.ask(groupCtx, q, window)
			return err
		})
	}
	covered := coverage{all: true}
	if window >= minCoverageWindow && slices.ContainsFunc(queries, func(q metrics.Query) bool { return !q.Now }) {
		group.Go(func() error {
			covered = s.coverage(groupCtx, window)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return metrics.Answer{}, fmt.Errorf("ask Prometheus at %s: %w", s.name, ctx.Err())
		}
		return metrics.Answer{}, s.explain(err, limited.Err() != nil)
	}
	answer := metrics.Answer{Samples: samples, Window: window}
	if !covered.all {
		answer.Notes = append(answer.Notes, covered.note)
		answer.Window = cmp.Or(covered.window, window)
	}
	if window < shortWindow && nothingIncreased(queries, samples) {
		answer.Notes = append(answer.Notes, fmt.Sprintf(
			"Prometheus has no increase in the last %v: the time window may be too short, try 1m", window))
	}
	seen := map[string]bool{}
	for _, list := range warnings {
		for _, w := range list {
			if !seen[w] {
				answer.Notes = append(answer.Notes, "Prometheus warns: "+metrics.Printable(w, maxText))
			}
			seen[w] = true
		}
	}
	return answer, nil
}

func (s *Source) ask(ctx context.Context, q metrics.Query, window time.Duration) ([]metrics.Sample, promv1.Warnings,
	error) {
	vector, warnings, err := s.query(ctx, q.PromQL(window, s.jobs...))
	if err != nil {
		return nil, nil, err
	}
	samples := make([]metrics.Sample, 0, len(vector))
	for _, v := range vector {
		if n := float64(v.Value); !math.IsNaN(n) && !math.IsInf(n, 0) {
			samples = append(samples, metrics.Sample{Labels: labels(v.Metric, q.By), Value: n})
		}
	}
	return samples, warnings, nil
}

// query runs one query of PromQL. It waits while maxRunning others run.
func (s *Source) query(ctx context.Context, promQL string) (model.Vector, promv1.Warnings, error) {
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	// The zero time is Prometheus's own now: the clocks may differ.
	value, warnings, _, err := s.api.Query(ctx, promQL, time.Time{}, promv1.WithTimeout(s.timeout))
	if err != nil {
		return nil, nil, err
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, nil, &promv1.Error{Type: promv1.ErrBadResponse, Msg: fmt.Sprintf("a %T instead of a vector", value)}
	}
	return vector, warnings, nil
}

func labels(metric model.Metric, by []string) map[string]string {
	out := map[string]string{}
	for _, name := range by {
		if value := string(metric[model.LabelName(name)]); value != "" {
			out[name] = value
		}
	}
	return out
}

// explain turns an error of the client library into a sentence with the remedy. It repeats only the first bytes of what
// a server sent. timedOut says that the time limit has passed.
func (s *Source) explain(err error, timedOut bool) error {
	var netErr net.Error
	var apiErr *promv1.Error
	switch isAPI := errors.As(err, &apiErr); {
	case timedOut || isAPI && apiErr.Type == promv1.ErrTimeout || errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Errorf("Prometheus at %s gave no answer within %v: it is overloaded or cannot be reached; "+
			"a shorter time window asks less of it", s.name, s.timeout)
	case !isAPI:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if errors.Is(err, errOversized) {
			return fmt.Errorf("answer of Prometheus at %s: %w; ask for one namespace", s.name, err)
		}
		return fmt.Errorf("reach Prometheus at %s: %w; check that it runs and that the URL is right", s.name, err)
	}
	text := metrics.Printable(apiErr.Msg, maxText)
	if detail := metrics.Printable(apiErr.Detail, maxText); detail != "" {
		text += ": " + detail
	}
	switch apiErr.Type {
	case promv1.ErrBadResponse:
		return fmt.Errorf("%s does not answer as Prometheus does (%s); check that the URL is Prometheus's", s.name, text)
	case promv1.ErrServer, promv1.ErrCanceled:
		return fmt.Errorf("Prometheus at %s failed: %s; its log has the cause", s.name, text)
	case promv1.ErrClient:
		return fmt.Errorf("Prometheus at %s refused the request: %s; check the URL's path and the bearer token", s.name,
			text)
	}
	return fmt.Errorf("Prometheus at %s refused the query: %s: %s", s.name, apiErr.Type, text)
}

// errOversized is the error about an answer of more than maxAnswer bytes.
var errOversized = fmt.Errorf("more than %d MiB", maxAnswer>>20)

// roundTripper adds the token and bounds the answer.
type roundTripper struct {
	next      http.RoundTripper
	target    *url.URL
	tokenFile string
}

// RoundTrip implements http.RoundTripper. A redirect to another host does not get the token.
func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.tokenFile != "" && r.URL.Host == t.target.Host && r.URL.Scheme == t.target.Scheme {
		token, err := os.ReadFile(t.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read bearer token: %w", err)
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

// boundedBody is a body whose Read fails after a number of bytes.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errOversized
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, errOversized
	}
	return n, err
}
