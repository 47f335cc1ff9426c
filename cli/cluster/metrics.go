package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	corev1 "k8s.io/api/core/v1"
)

// maxMetrics bounds what one pod may answer.
const maxMetrics = 64 << 20

// OpenMetrics asks a port of a pod for metrics. The caller closes what it returns.
func OpenMetrics(ctx context.Context, cl *Client, pod *corev1.Pod, port int) (io.ReadCloser, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return cl.DialPod(context.WithoutCancel(ctx), pod.Namespace, pod.Name, port)
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain; version=0.0.4") // the readers know nothing else
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("read metrics: %s", resp.Status), resp.Body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxMetrics), resp.Body}, nil
}

// Scrape prints the metrics of each pod below a header. What cannot be read is part of the output, and an error at the
// end.
func Scrape(ctx context.Context, w io.Writer, cl *Client, pods []corev1.Pod,
	adminPort func(*corev1.Pod) int) error {
	var errs []error
	for i := range pods {
		pod := &pods[i]
		fmt.Fprintf(w, "#\n# POD %s (%d of %d)\n#\n", pod.Name, i+1, len(pods))
		err := errors.New("it has no proxy")
		if port := adminPort(pod); port != 0 {
			err = copyMetrics(ctx, w, cl, pod, port)
		}
		if err != nil {
			fmt.Fprintf(w, "# ERROR %v\n", err)
			errs = append(errs, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(errs...)
}

func copyMetrics(ctx context.Context, w io.Writer, cl *Client, pod *corev1.Pod, port int) error {
	body, err := OpenMetrics(ctx, cl, pod, port)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	_, err = io.Copy(w, body)
	return err
}
