package stat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// Request is one question.
type Request struct {
	Targets []resource.Target
	// Namespace is that of the targets; "" is every namespace.
	Namespace string
	// Selector selects the targets by their labels; "" selects all.
	Selector string
	Window   time.Duration
	// To and From narrow to the traffic with another resource. At most one of them is given.
	To, From *resource.Peer
	// Unmeshed asks for rows of resources without a proxy too.
	Unmeshed bool
	// NotVersion, if not "", keeps the resources that have a proxy of another version.
	NotVersion string
}

// Row is what is known of one resource.
type Row struct {
	Kind            resource.Kind
	Namespace, Name string
	Status          string
	Meshed, Total   int
	// Versions are those of its proxies, sorted.
	Versions []string
	// Stats is nil without responses.
	Stats *golden.Stats
	// TCP is nil for what has no connections of its own, and for what had none.
	TCP *TCP
	// Denied is the rate of requests that policy denied; nil where denials do not name the resource.
	Denied *float64
}

// TCP is what is known of connections.
type TCP struct {
	// Open is how many are open now.
	Open uint64
	// ReadRate and WriteRate are bytes per second.
	ReadRate, WriteRate float64
}

// Result is the answer to a Request.
type Result struct {
	// Rows are in the order of the targets, and by namespace and name.
	Rows []Row
	// Notes are sentences for the user.
	Notes []string
}

// Rows answers the request.
func Rows(ctx context.Context, src metrics.Source, cluster resource.Lister, req Request) (Result, error) {
	if req.To != nil && req.From != nil {
		return Result{}, errors.New("--to and --from: give one of them")
	}
	var result Result
	var plans []*plan
	var forbidden []string // of `all` the kinds that the user may not list
	for _, target := range req.Targets {
		p, err := newPlan(target, req)
		if errors.Is(err, errNotForKind) && len(req.Targets) > 1 {
			continue
		}
		if err != nil {
			return Result{}, err
		}
		err = p.list(ctx, cluster, req)
		if apierrors.IsForbidden(err) && len(req.Targets) > 1 && len(target.Names) == 0 {
			forbidden = append(forbidden, err.Error())
			continue
		}
		if err != nil {
			return Result{}, err
		}
		plans = append(plans, p)
	}
	if err := checkNames(ctx, cluster, req, plans); err != nil {
		return Result{}, err
	}
	plans = slices.DeleteFunc(plans, func(p *plan) bool { return p.listed && len(p.objects) == 0 })
	if len(plans) == 0 {
		return Result{Notes: forbidden}, nil // nothing to ask for, so nobody waits for a window
	}
	var queries []metrics.Query
	for _, p := range plans {
		p.first = len(queries)
		queries = append(queries, p.queries()...)
	}
	answer, err := src.Ask(ctx, req.Window, queries)
	if err != nil {
		return Result{}, err
	}
	if len(answer.Samples) != len(queries) {
		return Result{}, fmt.Errorf("read numbers: %d answers to %d queries", len(answer.Samples), len(queries))
	}
	window := cmp.Or(answer.Window, req.Window)
	result.Notes = slices.Concat(forbidden, answer.Notes)
	for _, p := range plans {
		result.Rows = append(result.Rows, p.rows(answer.Samples[p.first:], window, req)...)
	}
	return result, nil
}

// checkNames returns an error for a namespace or another end that does not exist. It asks the cluster for namespaces
// only if there is no object, because few users may list them.
func checkNames(ctx context.Context, cluster resource.Lister, req Request, plans []*plan) error {
	found := slices.ContainsFunc(plans, func(p *plan) bool { return len(p.objects) > 0 || !p.listed })
	if !found {
		if err := resource.CheckNamespace(ctx, cluster, req.Namespace); err != nil {
			return err
		}
	}
	for _, peer := range []*resource.Peer{req.To, req.From} {
		if peer == nil {
			continue
		}
		if err := checkPeer(ctx, cluster, *peer); err != nil {
			return err
		}
	}
	return nil
}

func checkPeer(ctx context.Context, cluster resource.Lister, peer resource.Peer) error {
	if peer.Name == "" || peer.Kind.Name == authority {
		return resource.CheckNamespace(ctx, cluster, peer.Namespace)
	}
	if peer.Kind.Name == resource.Namespace {
		return resource.CheckNamespace(ctx, cluster, peer.Name)
	}
	objects, err := cluster.List(ctx, peer.Kind, peer.Namespace, "")
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		if err := resource.CheckNamespace(ctx, cluster, peer.Namespace); err != nil {
			return err
		}
	}
	_, err = resource.Select(peer.Kind, objects, []string{peer.Name}, peer.Namespace)
	return err
}
