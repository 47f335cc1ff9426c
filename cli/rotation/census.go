package rotation

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of asking proxies. Each is asked through a port-forward of its own, and only until it has acknowledged.
const (
	askedAtOnce = 32
	askTimeout  = 5 * time.Second
	podPage     = 500
)

// census asks every proxy what it reports. A proxy answers for itself alone, on the admin port of its own pod, which
// the API server reaches by the pod's name: no other pod can answer in its place.
type census struct {
	cl      *cluster.Client
	control string
	skip    []string

	gate         gate
	acknowledged map[types.UID]bool
	// asked is the number of proxies that must acknowledge; pending are those that have not, and why.
	asked   int
	pending map[string]string
}

// ask asks the proxies that have not yet acknowledged.
func (c *census) ask(ctx context.Context, g gate) error {
	if c.gate != g {
		c.gate, c.acknowledged = g, map[types.UID]bool{}
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	c.asked, c.pending = len(pods), map[string]string{}
	var mu sync.Mutex // guards pending and acknowledged
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	silent := slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return c.acknowledged[pod.UID] })
	for i := range silent {
		pod := &silent[i]
		group.Go(func() error {
			value, err := c.read(ctx, pod, g.metric)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				c.pending[pod.Namespace+"/"+pod.Name] = err.Error()
			case value != g.value:
				c.pending[pod.Namespace+"/"+pod.Name] = "has the former one"
			default:
				c.acknowledged[pod.UID] = true
			}
			return nil
		})
	}
	return group.Wait()
}

// pods returns those that verify peers of the mesh: with a proxy that runs, and those of the destination controller.
func (c *census) pods(ctx context.Context) ([]corev1.Pod, error) {
	var out []corev1.Pod
	options := metav1.ListOptions{Limit: podPage}
	for {
		page, err := c.cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list pods: %w", err)
		}
		for _, pod := range page.Items {
			if !slices.Contains(c.skip, pod.Namespace+"/"+pod.Name) && c.counts(&pod) {
				out = append(out, pod)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return out, nil
		}
	}
}

// counts reports whether a rotation waits for the pod. One that has not started reads the bundle when it does.
func (c *census) counts(pod *corev1.Pod) bool {
	if cluster.Finished(pod) || pod.Status.Phase == corev1.PodPending && !runs(pod) {
		return false
	}
	return sidecar.Of(pod) != nil || c.destination(pod)
}

func (c *census) destination(pod *corev1.Pod) bool {
	return pod.Namespace == c.control && pod.Labels[mesh.ControlPlaneComponentLabel] == "destination"
}

func runs(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(s corev1.ContainerStatus) bool { return s.Name == mesh.ProxyContainer && s.State.Running != nil })
}

// read returns the value of a metric without labels.
func (c *census) read(ctx context.Context, pod *corev1.Pod, metric string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	port := sidecar.AdminPort(pod)
	if c.destination(pod) {
		port = cluster.ControllerAdminPort(pod)
	}
	body, err := cluster.OpenMetrics(ctx, c.cl, pod, port)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	return find(body, metric)
}

func find(r io.Reader, metric string) (uint64, error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, fmt.Errorf("read metric %s: %w", metric, err)
			}
			return uint64(number), nil
		}
		if err == io.EOF {
			return 0, fmt.Errorf("its proxy is of a version that does not say; restart it, or skip it (--skip)")
		}
		if err != nil {
			return 0, fmt.Errorf("read metrics: %w", err)
		}
	}
}
