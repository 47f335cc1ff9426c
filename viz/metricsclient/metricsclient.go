// Package metricsclient asks the metrics-api of the viz extension.
//
// It owns the client's side of the HTTP API: the time limit, the bounds of an answer and the texts of errors. The
// caller decides how to reach the API, such as by a port-forward.
package metricsclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

const (
	// grace is how long an answer may take beyond the window, during which metrics-api may read the proxies.
	grace = 45 * time.Second
	// maxAnswer bounds the bytes of an answer.
	maxAnswer = 64 << 20
	// maxText bounds what an error repeats of an answer.
	maxText = 500
)

// Config says how to reach metrics-api.
type Config struct {
	URL string // without a path; "" means http://metrics-api, which Dial connects
	// Dial makes the connections, such as port-forwards; nil dials the host of the URL.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Source asks metrics-api. Its methods may be called by several goroutines.
type Source struct {
	url    string
	client *http.Client
}

// New returns a Source. It sends nothing.
func New(c Config) *Source {
	transport := &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}
	if c.URL == "" {
		c.URL = "http://metrics-api"
	}
	return &Source{url: c.URL, client: &http.Client{Transport: transport}}
}

// Ask implements metrics.Source.
func (s *Source) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	if err := metrics.Validate(window, queries); err != nil {
		return metrics.Answer{}, err
	}
	var answer metrics.Answer
	if err := s.ask(ctx, window+grace, metrics.QueryPath, metrics.Request{Window: window, Queries: queries},
		&answer); err != nil {
		return metrics.Answer{}, err
	}
	if err := checkAnswers(len(answer.Samples), len(queries)); err != nil {
		return metrics.Answer{}, err
	}
	answer.Notes = printable(answer.Notes)
	return answer, nil
}

// AskHistory implements metrics.HistorySource.
func (s *Source) AskHistory(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	if err := r.Validate(); err != nil {
		return metrics.History{}, err
	}
	var history metrics.History
	if err := s.ask(ctx, grace, metrics.HistoryPath, r, &history); err != nil {
		return metrics.History{}, err
	}
	for _, m := range history.Moments {
		if err := checkAnswers(len(m.Samples), len(r.Queries)); err != nil {
			return metrics.History{}, err
		}
	}
	history.Notes = printable(history.Notes)
	return history, nil
}

func checkAnswers(got, want int) error {
	if got != want {
		return fmt.Errorf("ask metrics-api: %d answers to %d queries: is it metrics-api that answers?", got, want)
	}
	return nil
}

func printable(notes []string) []string {
	for i, note := range notes {
		notes[i] = metrics.Printable(note, maxText)
	}
	return notes
}

// ask sends a request to a path, and decodes the answer, which may take as long as the limit.
func (s *Source) ask(ctx context.Context, limit time.Duration, path string, request, answer any) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.post(limited, path, request, answer)
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && limited.Err() != nil:
		return fmt.Errorf("ask metrics-api: no answer within %v; see its log", limit)
	}
	return fmt.Errorf("ask metrics-api: %w", err)
}

func (s *Source) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(traceWait(ctx), http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case len(text) > maxAnswer:
		return fmt.Errorf("answer of more than %d MiB; ask for one namespace", maxAnswer>>20)
	case path == metrics.HistoryPath && resp.StatusCode == http.StatusNotImplemented:
		return metrics.ErrNoHistory
	case path == metrics.HistoryPath && resp.StatusCode == http.StatusNotFound:
		return errOldServer
	case resp.StatusCode != http.StatusOK:
		return errorFrom(resp.Status, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// errOldServer is the error about a metrics-api that answers no history.
var errOldServer = errors.New(
	"it is too old to answer for the past; `tulle viz install | kubectl apply -f -` updates it")

// traceWait returns a context with which an interim response that announces a wait calls metrics.Progress.
func traceWait(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			if seconds, err := strconv.Atoi(header.Get(metrics.WaitHeader)); err == nil && seconds > 0 {
				metrics.Progress(ctx, time.Duration(seconds)*time.Second)
			}
			return nil
		}})
}

// errorFrom returns the reason that metrics-api gave, or the status if another server answered.
func errorFrom(status string, text []byte) error {
	var reason struct{ Error string }
	if json.Unmarshal(text, &reason) == nil && reason.Error != "" {
		return errors.New(metrics.Printable(reason.Error, maxText))
	}
	return fmt.Errorf("%s: %s", metrics.Printable(status, maxText), metrics.Printable(string(text), maxText))
}
