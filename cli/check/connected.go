package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of asking proxies: each is asked through a port-forward of its own, which is work for the API server and the
// node.
const (
	askedAtOnce = 16
	askProxy    = 5 * time.Second
	askProxies  = 20 * time.Second
	// answerHolds is how long a proxy that was connected is not asked again, while check waits for something else.
	answerHolds = 30 * time.Second
)

// link is what a proxy says about its stream to the destination controller.
type link struct {
	asked     time.Time // when
	connected bool
	// values counts what came over all streams, and silent is the time since the last one ended, or since the proxy
	// started.
	values float64
	silent time.Duration
	// since is when the proxy's certificate arrived and until is its end; zero without one.
	since, until time.Time
	err          error // why it could not be asked
}

// links are those of the pods whose proxies run.
type links map[types.UID]link

// askLinks asks the running proxies in scope, except those with a fresh answer in known. A proxy that cannot be asked
// in time is an answer too.
func askLinks(ctx context.Context, cl *cluster.Client, f *facts, known links) links {
	var pods []*corev1.Pod
	out := links{}
	f.eachPod(func(pod *corev1.Pod) {
		if l, ok := known[pod.UID]; ok && l.connected && f.now.Sub(l.asked) < answerHolds {
			out[pod.UID] = l
		} else if proxyRuns(pod) {
			pods = append(pods, pod)
		}
	})
	ctx, cancel := context.WithTimeout(ctx, askProxies)
	defer cancel()
	answers := make([]link, len(pods))
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for i, pod := range pods {
		group.Go(func() error {
			answers[i] = askLink(ctx, cl, pod)
			return nil
		})
	}
	_ = group.Wait() // answers have the errors
	for i, pod := range pods {
		answers[i].asked = f.now
		out[pod.UID] = answers[i]
	}
	return out
}

// proxyRuns reports whether there is a proxy to ask: others are for the check that wants them ready.
func proxyRuns(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(s corev1.ContainerStatus) bool {
			return s.Name == mesh.ProxyContainer && (s.Ready || s.State.Running != nil)
		})
}

func askLink(ctx context.Context, cl *cluster.Client, pod *corev1.Pod) link {
	if ctx.Err() != nil {
		return link{err: fmt.Errorf("not asked within %v", askProxies)}
	}
	ctx, cancel := context.WithTimeout(ctx, askProxy)
	defer cancel()
	body, err := cluster.OpenMetrics(ctx, cl, pod, sidecar.AdminPort(pod))
	if err != nil {
		return link{err: err}
	}
	defer func() { _ = body.Close() }()
	l, err := readLink(body)
	l.err = err
	return l
}

// readLink reads a proxy's metrics.
func readLink(r io.Reader) (link, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return link{}, fmt.Errorf("read metrics: %w", err)
	}
	sum := func(name string) (total float64) {
		for _, m := range families[name].GetMetric() {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
		return total
	}
	if families["control_connected"] == nil {
		return link{}, errors.New("its metrics lack control_connected")
	}
	silent := time.Duration(sum("tulle_control_stale_seconds") * float64(time.Second))
	moment := func(name string) (t time.Time) {
		if seconds := sum(name); seconds > 0 {
			t = time.Unix(int64(seconds), 0)
		}
		return t
	}
	return link{connected: sum("control_connected") > 0, values: sum("tulle_control_values_total"),
		silent: silent.Round(time.Second), since: moment("control_identity_cert_refresh_timestamp_seconds"),
		until: moment("control_identity_cert_expiration_timestamp_seconds")}, nil
}

// askConnected finds proxies that go on with what they last heard. A proxy that cannot be asked is a warning: it may be
// fine, and the user may lack the permission.
func askConnected(f *facts) error {
	remedy := ""
	err := podErrors(f, func(pod *corev1.Pod) string {
		l, asked := f.links[pod.UID]
		switch {
		case !asked || l.err != nil || l.connected:
			return ""
		case remedy == "":
			remedy = fmt.Sprintf("they serve what they last heard, and changes do not reach them; for the reason: "+
				"kubectl logs -n %s %s -c %s | grep 'destination controller lost'", pod.Namespace, pod.Name, mesh.ProxyContainer)
		}
		if l.values == 0 {
			return fmt.Sprintf("never connected, %v after it started", l.silent)
		}
		return fmt.Sprintf("not connected for %v", l.silent)
	})
	unasked := askUnasked(f)
	switch {
	case err == nil && unasked == nil:
		return nil
	case err == nil:
		return minor{unasked}
	case f.pods.err != nil:
		return err
	}
	return errors.Join(err, unasked, errors.New(remedy))
}

// askUnasked says how many proxies could not be asked, and why the first could not.
func askUnasked(f *facts) error {
	var names []string
	why := map[string]error{}
	f.eachPod(func(pod *corev1.Pod) {
		if err := f.links[pod.UID].err; err != nil {
			name := pod.Namespace + "/" + pod.Name
			names, why[name] = append(names, name), err
		}
	})
	if names == nil {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%d of %d proxies could not be asked: %s\n%s: %w", len(names), len(f.links),
		cluster.Abbreviate(names), names[0], why[names[0]])
}
