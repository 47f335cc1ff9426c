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
