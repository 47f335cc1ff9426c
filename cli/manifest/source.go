package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// maxSource bounds what a file, a URL or stdin may hold.
const maxSource = 64 << 20

// Sources reads what command lines name.
type Sources struct {
	// Stdin is what the name - stands for.
	Stdin io.Reader
}

// Read returns the content of a file, of an https URL, or of stdin for "-". It refuses plain http: an attacker on the
// way could change what gets applied to the cluster.
func (s Sources) Read(ctx context.Context, name string) ([]byte, error) {
	switch {
	case name == "-":
		return readBounded("stdin", s.Stdin)
	case strings.HasPrefix(name, "http://"):
		return nil, fmt.Errorf("read %s: plain http is not accepted; use https or a file", name)
	case strings.HasPrefix(name, "https://"):
		return fetch(ctx, http.DefaultTransport, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readBounded(name, f)
}

// fetch returns the body of an https URL; redirects may not leave https.
func fetch(ctx context.Context, transport http.RoundTripper, url string) ([]byte, error) {
	client := &http.Client{
		Transport: transport,
		Timeout:   time.Minute,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Scheme != "https" {
				return fmt.Errorf("redirect to %s: only https is accepted", req.URL)
			}
			if len(via) >= 10 {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read %s: %s", url, resp.Status)
	}
	return readBounded(url, resp.Body)
}

func readBounded(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxSource {
		return nil, fmt.Errorf("read %s: more than %d MiB", name, maxSource>>20)
	}
	return data, nil
}

// SourceName returns how messages call a source.
func SourceName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}
