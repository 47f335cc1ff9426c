package stat

import (
	"context"
	"errors"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Request is one question.
type Request struct {
	subject.Request
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

// Result is the answer to a Request. Its rows are in the order of the targets, and by namespace and name.
type Result = subject.Result[Row]

// Rows answers the request.
func Rows(ctx context.Context, src metrics.Source, cluster resource.Lister, req Request) (Result, error) {
	if req.To != nil && req.From != nil {
		return Result{}, errors.New("--to and --from: give one of them")
	}
	peer, err := peerMatch(req)
	if err != nil {
		return Result{}, err
	}
	plans, forbidden, err := newPlans(ctx, cluster, req, peer)
	if err != nil {
		return Result{}, err
	}
	if err := checkNames(ctx, cluster, req, plans); err != nil {
		return Result{}, err
	}
	plans = slices.DeleteFunc(plans, func(p *plan) bool { return p.Kind.InCluster() && len(p.objects) == 0 })
	answers, err := subject.Ask(ctx, src, req.Window, plans, (*plan).queries)
	if err != nil {
		return Result{}, err
	}
	result := Result{Notes: slices.Concat(forbidden, answers.Notes)}
	for i, p := range plans {
		result.Rows = append(result.Rows, p.rows(answers.Samples[i], answers.Window, req)...)
	}
	return result, nil
}

// newPlans returns a plan for each target. Of `all` it leaves out kinds without such numbers, and returns a note about
// each kind that the user may not list.
func newPlans(ctx context.Context, cluster resource.Lister, req Request, peer []metrics.Match) (plans []*plan,
	forbidden []string, err error) {
	several := len(req.Targets) > 1
	for _, target := range req.Targets {
		err := check(target.Kind, req)
		if several && errors.Is(err, errNotForKind) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		s, err := subject.Find(ctx, cluster, target, req.Request)
		if req.LeavesOut(target, err) {
			forbidden = append(forbidden, err.Error())
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		plans = append(plans, newPlan(s, req, peer))
	}
	return plans, forbidden, nil
}

// checkNames returns an error for a namespace or another end that does not exist. It asks the cluster for namespaces
// only if there is no object, because few users may list them.
func checkNames(ctx context.Context, cluster resource.Lister, req Request, plans []*plan) error {
	found := slices.ContainsFunc(plans, func(p *plan) bool { return len(p.objects) > 0 || !p.Kind.InCluster() })
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
	if peer.Name == "" || !peer.Kind.InCluster() {
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
