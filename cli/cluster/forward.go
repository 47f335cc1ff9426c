package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	//lint:ignore SA1019 client-go's dialer still speaks in its types
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// podDialer connects to a port of a pod from inside of the pod, as kubectl port-forward does, without a listener on
// this machine.
func podDialer(client kubernetes.Interface, config *rest.Config) func(ctx context.Context, namespace, pod string,
	port int) (net.Conn, error) {
	return func(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
		conn, err := forward(ctx, client, config, namespace, pod, port)
		if err != nil {
			return nil, fmt.Errorf("forward to port %d of pod %s/%s: %w", port, namespace, pod, err)
		}
		return conn, nil
	}
}

func forward(ctx context.Context, client kubernetes.Interface, config *rest.Config, namespace, pod string,
	port int) (net.Conn, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	url := client.CoreV1().RESTClient().Post().Resource("pods").
		Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	tunnel, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	faults, err := tunnel.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, tunnel.Close())
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := tunnel.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, tunnel.Close())
	}
	conn := &podConn{Stream: data, tunnel: tunnel, pod: pod, port: port, fault: make(chan error, 1)}
	go conn.watch(faults)
	conn.release = context.AfterFunc(ctx, func() { _ = tunnel.Close() })
	return conn, nil
}

// podConn is one forwarded connection. It has no deadlines: the context that it was dialled with bounds it.
type podConn struct {
	httpstream.Stream
	tunnel  httpstream.Connection
	pod     string
	port    int
	fault   chan error // what the kubelet says went wrong, once; nil when it says nothing
	release func() bool
}

// watch takes the kubelet's word on the stream for errors, which ends when the connection does.
func (c *podConn) watch(faults io.Reader) {
	text, err := io.ReadAll(io.LimitReader(faults, 4096))
	if err == nil && len(text) > 0 {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	c.fault <- err
}

// Read implements net.Conn. The end of the stream is an error where the kubelet gave a reason for it.
func (c *podConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		select {
		case fault := <-c.fault:
			c.fault <- fault
			if fault != nil {
				return 0, fault
			}
		default:
		}
	}
	return n, err
}

// Close implements net.Conn; it ends the tunnel, and with it watch, for which it waits.
func (c *podConn) Close() error {
	c.release()
	err := c.tunnel.Close()
	c.fault <- <-c.fault
	return err
}

// LocalAddr implements net.Conn.
func (c *podConn) LocalAddr() net.Addr { return podAddr("local") }

// RemoteAddr implements net.Conn.
func (c *podConn) RemoteAddr() net.Addr { return podAddr(fmt.Sprintf("%s:%d", c.pod, c.port)) }

// SetDeadline implements net.Conn.
func (c *podConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.Conn.
func (c *podConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.Conn.
func (c *podConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// podAddr names an end of a podConn.
type podAddr string

func (podAddr) Network() string  { return "port-forward" }
func (a podAddr) String() string { return string(a) }
