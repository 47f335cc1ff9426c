package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// read scrapes one pod into the collector that begin returns.
func (s *Source) read(ctx context.Context, t *target, begin func(*target, time.Time) collector) (collector, error) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	body, err := s.cfg.Open(ctx, t.pod, sidecar.AdminPort(t.pod))
	if err != nil {
		return collector{}, timeoutError(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer func() {
		if stop() {
			_ = body.Close()
		}
	}()
	c := begin(t, time.Now())
	return c, timeoutError(ctx, parse(body, t.metrics, s.cfg.MaxBytes, c.add))
}

// timeoutError replaces the error of a scrape by one that names podTimeout, if that has passed.
func timeoutError(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer within %v", podTimeout)
	}
	return err
}

// OpenHTTP returns an Opener that asks the address of the pod.
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
		req.Header.Set("Accept", "text/plain; version=0.0.4") // parse reads nothing else
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
