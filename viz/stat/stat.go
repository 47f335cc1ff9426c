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

// Request says which rows the user wants.
type Request struct {
	subject.Request
	// To and From narrow to the traffic with another resource. At most one of them is given.
	To, From *resource.Peer
	// Unmeshed asks for rows of resources without a proxy too.
	Unmeshed bool
	// NotVersion, if not "", keeps the resources that have a proxy of another version.
	NotVersion string
}

// Row has the numbers of one resource.
type Row struct {
	Kind            resource.Kind
	Namespace, Name string
	// Status is the status of a pod; "" for other kinds.
	Status string
	// Meshed and Total count its pods that have not ended: those with a proxy, and all.
	Meshed, Total int
	// Versions are the versions of its proxies, sorted.
	Versions []string
	// Stats is nil without responses.
	Stats *golden.Stats
	// TCP is nil for a kind whose connections are not counted, and for a resource that had none.
	TCP *TCP
	// Denied is how many requests per second policy denied; nil for a kind that the series of denials do not name.
	Denied *float64
}

// TCP has the numbers of connections.
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
		return Result{}, errors.New("--to and --from exclude each other")
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

// newPlans returns a plan for each target. If there are several, it skips kinds for which the flags do not work, and
// returns a note about each kind that the user may not list.
func newPlans(ctx context.Context, cluster resource.Lister, req Request, peer []metrics.Match) (plans []*plan,
	forbidden []string, err error) {
	several := len(req.Targets) > 1
	for _, target := range req.Targets {
		err := check(target.Kind, req)
		var notForKind *notForKindError
		if several && errors.As(err, &notForKind) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		s, err := subject.Find(ctx, cluster, target, req.Request)
		if req.Skips(target, err) {
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

// checkNames returns an error for a namespace, or for a --to or --from, that does not exist. It lists namespaces only
// if there is no object, because few users may do so.
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
	target := resource.Target{Kind: peer.Kind, Names: []string{peer.Name}}
	_, err := resource.Find(ctx, cluster, target, peer.Namespace, "")
	return err
}
