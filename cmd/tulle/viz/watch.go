package viz

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
)

// watch is what `tulle viz tap` and the commands like it watch.
type watch struct {
	c      *commands
	post   tapclient.Post
	target tapclient.Target
	query  tap.Request
	// later counts the pods of the target that tap can watch after a restart, and off those for which it is turned off.
	later, off int
}

// newWatch reads the arguments and flags. It returns an error if an object that they name does not exist.
func (c *commands) newWatch(ctx context.Context, args []string, f tapFlags) (*watch, error) {
	kind, name, err := tapTarget(args)
	if err != nil {
		return nil, err
	}
	query, err := f.query()
	if err != nil {
		return nil, err
	}
	cl, err := c.Connect()
	if err != nil {
		return nil, err
	}
	w := &watch{c: c, post: cl.Post, target: tapclient.Target{Namespace: cl.Namespace, Kind: kind, Name: name},
		query: query}
	namespace := w.target.InNamespace()
	lister := objects.New(cl, c.ControlNamespace())
	found, err := lookUp(ctx, lister, kind, name, namespace)
	if err != nil {
		return nil, err
	}
	if err := w.countUntapped(ctx, cl, lister, namespace, found); err != nil {
		return nil, err
	}
	if f.to == "" && f.toNamespace != "" {
		f.to = "ns/" + f.toNamespace
	}
	to, err := peer("to", f.to, f.toNamespace, namespace)
	if err != nil || to == nil {
		return w, err
	}
	w.query.To, err = destination(ctx, lister, to)
	return w, err
}

// tapTarget reads the arguments: one kind, and one name or none.
func tapTarget(args []string) (kind resource.Kind, name string, err error) {
	targets, err := resource.Parse(args)
	if err != nil {
		return kind, "", err
	}
	if len(targets) > 1 || len(targets[0].Names) > 1 {
		return kind, "", errors.New("name one resource; ns/NAME is everything in a namespace")
	}
	kind = targets[0].Kind
	if !kind.HasPods() {
		return kind, "", fmt.Errorf("%s have no proxies: name a workload, a pod or a namespace; "+
			"--to takes services and authorities", kind.Plural)
	}
	if len(targets[0].Names) == 1 {
		name = targets[0].Names[0]
	} else if kind.Class == resource.ByPod {
		return kind, "", fmt.Errorf("name one of the %s, as in %s/NAME", kind.Plural, kind.Prefix())
	}
	return kind, name, nil
}

// lookUp returns the objects that a command names, or an error that names the nearest one. It returns none if the user
// may not list them: the tap server decides then.
func lookUp(ctx context.Context, l resource.Lister, kind resource.Kind, name, namespace string) ([]resource.Object,
	error) {
	found, err := l.List(ctx, kind, namespace, "")
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, err
	case len(found) == 0 && kind.Name != resource.Namespace:
		if err := resource.CheckNamespace(ctx, l, namespace); err != nil {
			return nil, err
		}
	}
	var names []string
	if kind.Name == resource.Namespace {
		names = []string{namespace}
	} else if name != "" {
		names = []string{name}
	}
	return resource.Select(kind, found, names, namespace)
}

// destination returns the filter of proxies for --to.
func destination(ctx context.Context, l resource.Lister, to *resource.Peer) (tap.Destination, error) {
	switch {
	case to.Kind.Name == "authority":
		return tap.Destination{Kind: to.Kind.Name, Name: to.Name}, nil
	case !to.Kind.HasPods() && to.Kind.Class != resource.Called:
		return tap.Destination{},
			fmt.Errorf("--to %s: %s receive no requests: name a workload, a pod, a namespace, a service "+
				"or an authority", to.Kind.Prefix(), to.Kind.Plural)
	}
	namespace := to.Namespace
	if to.Kind.Name == resource.Namespace && to.Name != "" {
		namespace = to.Name
	}
	if _, err := lookUp(ctx, l, to.Kind, to.Name, namespace); err != nil {
		return tap.Destination{}, fmt.Errorf("--to: %w", err)
	}
	if to.Kind.Name == resource.Namespace {
		return tap.Destination{Namespace: namespace}, nil
	}
	return tap.Destination{Namespace: namespace, Kind: to.Kind.Name, Name: to.Name}, nil
}

// query returns the request that the flags make, without --to.
func (f *tapFlags) query() (tap.Request, error) {
	if !(f.maxRPS > 0 && f.maxRPS <= mesh.MaxTapRate) {
		return tap.Request{}, fmt.Errorf("--max-rps %v: want more than 0, and at most %d", f.maxRPS, mesh.MaxTapRate)
	}
	if _, err := metav1.ParseToLabelSelector(f.selector); err != nil {
		return tap.Request{}, fmt.Errorf("--selector %q: %w", f.selector, err)
	}
	if !slices.Contains([]string{"", "inbound", "outbound"}, f.direction) {
		return tap.Request{}, fmt.Errorf("--direction %q: want inbound or outbound", f.direction)
	}
	return tap.Request{
		Direction: f.direction, LabelSelector: f.selector,
		MaxRPS: int(math.Ceil(f.maxRPS)), Method: strings.ToUpper(f.method),
		Scheme: strings.ToLower(f.scheme), Authority: f.authority, PathPrefix: f.path,
	}, nil
}

// run watches until ctx ends or the stream does. It prints what to do about pods without tap.
func (w *watch) run(ctx context.Context, emit func(tap.Message) error) error {
	err := tapclient.Watch(ctx, w.post, w.target, w.query, func(m tap.Message) error {
		if hint := w.tapHint(); m.Watching != nil && hint != "" {
			w.c.note([]string{hint})
		}
		return emit(m)
	})
	if hint := w.tapHint(); apierrors.IsNotFound(err) && hint != "" {
		return fmt.Errorf("%w. %s", err, hint)
	}
	return err
}

// countUntapped counts the pods of the objects whose proxy runs and that tap cannot watch.
func (w *watch) countUntapped(ctx context.Context, cl *cluster.Client, l *objects.Reader, namespace string,
	found []resource.Object) error {
	untapped := map[string]bool{}
	for _, o := range found {
		for _, p := range o.Pods {
			if !p.Finished && heading(p) == tapDisabled {
				untapped[namespace+"/"+p.Name] = true
			}
		}
	}
	if len(untapped) == 0 {
		return nil
	}
	restart, err := w.c.readRestart(ctx, cl, l, namespace)
	for name := range untapped {
		if restart.tapped[name] {
			w.later++
		} else {
			w.off++
		}
	}
	return err
}

// tapHint returns a sentence about what to do about pods that tap cannot watch; "" if there are none.
func (w *watch) tapHint() string {
	var parts []string
	if w.later > 0 {
		parts = append(parts, fmt.Sprintf("Pods that tap can watch after a restart: %d. Restart them: "+
			"`kubectl -n %s rollout restart deploy,sts,ds`.", w.later, w.target.InNamespace()))
	}
	if w.off > 0 {
		parts = append(parts, fmt.Sprintf("Pods with tap turned off, by an annotation or the installation: %d. "+
			"See docs/tap.md#who-may-watch.", w.off))
	}
	return strings.Join(parts, " ")
}

// runFor is run for a span of time, which begins once the proxies are watched.
func (w *watch) runFor(ctx context.Context, span time.Duration, emit func(tap.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return w.run(ctx, func(m tap.Message) error {
		if m.Watching != nil {
			timer := time.AfterFunc(span, cancel)
			context.AfterFunc(ctx, func() { timer.Stop() })
		}
		return emit(m)
	})
}
