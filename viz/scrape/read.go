package scrape

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// scraped is what was kept of one scrape: series by the names of their metrics.
type scraped struct {
	at       time.Time
	families map[string]*dto.MetricFamily
}

// read scrapes one pod.
func (s *Source) read(ctx context.Context, t *target) (scraped, error) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	body, err := s.cfg.Open(ctx, t.pod, sidecar.AdminPort(t.pod))
	if err != nil {
		return scraped{}, late(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer func() {
		if stop() {
			_ = body.Close()
		}
	}()
	got := scraped{at: time.Now()}
	got.families, err = parse(body, t.wanted, s.cfg.MaxBytes)
	return got, late(ctx, err)
}

// late says that the time was up, if it was, instead of what that led to.
func late(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer within %v", podTimeout)
	}
	return err
}

// parse returns the series of the wanted metrics. Buckets, sums and counts of histograms are metrics of their own.
func parse(in io.Reader, wanted map[string]bool, maxBytes int64) (map[string]*dto.MetricFamily, error) {
	f := &filter{in: bufio.NewReaderSize(&limited{in, maxBytes, maxBytes}, 16<<10), wanted: wanted}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(f)
	switch {
	case f.err != nil && f.err != io.EOF:
		return nil, fmt.Errorf("read metrics: %w", f.err)
	case err != nil:
		return nil, fmt.Errorf("parse metrics: %w", err)
	case !f.began:
		return nil, errors.New("read metrics: the answer is empty")
	}
	return families, nil
}

// filter reads the lines of the wanted metrics only: the parser costs far more than a look at a line's first word.
// Without their comments, the parser takes all of them as plain numbers.
type filter struct {
	in     *bufio.Reader
	wanted map[string]bool
	rest   []byte // of a wanted line
	within bool   // the next bytes belong to a line that has begun
	keep   bool   // that line is wanted
	began  bool
	err    error
}

// Read implements io.Reader.
func (f *filter) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.next()
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// next reads a line, or as much of it as the buffer holds.
func (f *filter) next() {
	part, err := f.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		f.err = err
	}
	if len(part) == 0 {
		return
	}
	if !f.began {
		f.began = true
		if c := part[0]; c != '#' && c != '\n' && !nameByte(c) {
			f.err = errors.New("the answer is not in Prometheus's text format")
			return
		}
	}
	if !f.within {
		end := bytes.IndexFunc(part, func(r rune) bool { return r == '{' || r == ' ' || r == '\t' })
		f.keep = end > 0 && f.wanted[string(part[:end])]
	}
	f.within = part[len(part)-1] != '\n'
	if f.keep {
		f.rest = part
	}
}

func nameByte(c byte) bool {
	return c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// limited is a reader that fails beyond a number of bytes. io.LimitReader would cut the text off silently.
type limited struct {
	in        io.Reader
	left, max int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", l.max)
	}
	return n, err
}

// OpenHTTP returns an Opener that asks the pod's address.
func OpenHTTP(client *http.Client) Opener {
	return func(ctx context.Context, pod *corev1.Pod, port int) (io.ReadCloser, error) {
		if pod.Status.PodIP == "" {
			return nil, errors.New("it has no address yet")
		}
		url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)) + "/metrics"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("get %s: %s", url, metrics.Printable(resp.Status, maxText))
		}
		return resp.Body, nil
	}
}
