package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/parts"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// PoliciesPage is what the page Policies shows: the routes and policies, and the clients that they denied.
type PoliciesPage struct {
	Head
	// Objects are the routes and policies, worst first. More counts those that are left out. The lists of the page are
	// never null.
	Objects []PolicyObject `json:"objects"`
	More    int            `json:"more"`
	// Denials are the denied clients, the busiest first. MoreDenials counts those that are left out.
	Denials     []PolicyDenial `json:"denials"`
	MoreDenials int            `json:"moreDenials"`
}

// PolicyObject is one object of a kind that configures the mesh.
type PolicyObject struct {
	// ID names the object in links, as in servers.policy.linkerd.io/shop/web.
	ID string `json:"id"`
	// Ref has the kind as in HTTPRoute.
	Ref
	Group   string    `json:"group"`
	Created time.Time `json:"created"`
	// State is the worst of the conditions.
	State      string            `json:"state"`
	Conditions []PolicyCondition `json:"conditions"`
	// Facts are the values of its spec, and Links the objects that it names or selects, or that name it.
	Facts []PolicyFact `json:"facts"`
	Links []PolicyLink `json:"links"`
	// MoreLinks counts the links that are left out.
	MoreLinks int `json:"moreLinks"`
	// Traffic is the traffic that it matched in the window; nil if its kind has no metrics, or if they are not known.
	Traffic []PolicyTraffic `json:"traffic"`
	// Command shows the whole object.
	Command string `json:"command"`
}

// The states of a PolicyObject besides the severities and StateOK. An object is pending if the control plane has not
// evaluated its latest generation. An object without a status has the state StateNone: no controller reports on its
// kind.
const (
	StatePending = "pending"
	StateNone    = "none"
)

// PolicyCondition is one condition of an object's status.
type PolicyCondition struct {
	// Parent is the parent of a route, as in Service/web; "" for other kinds. Controller is the controller that reports.
	Parent     string `json:"parent"`
	Controller string `json:"controller"`
	Type       string `json:"type"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	// State is the meaning of the status: a severity, StateOK or StatePending.
	State string `json:"state"`
}

// PolicyFact is a value of an object's spec as text.
type PolicyFact struct {
	Name string `json:"name"`
	// Values are the first values, and More counts the others.
	Values []string `json:"values"`
	More   int      `json:"more"`
}

// The roles of a PolicyLink: what the other object is to this one.
const (
	RoleParent   = "parent"   // a route is attached to it
	RoleBackend  = "backend"  // a route sends requests to it
	RolePods     = "pods"     // a Server selects pods of it
	RoleTarget   = "target"   // a policy applies to it
	RoleRequires = "requires" // a policy requires that the client meets it
	RoleBy       = "by"       // it names this object as parent, target or requirement
)

// PolicyLink is a reference to another object.
type PolicyLink struct {
	Role string `json:"role"`
	Ref
	// ID is PolicyObject.ID; "" for kinds without a PolicyObject.
	ID   string `json:"id"`
	Port string `json:"port"`
	// Detail says more, as in "2 of 3 pods".
	Detail string `json:"detail"`
	// Missing means that the object does not exist, and that the viewer could see it.
	Missing bool `json:"missing"`
}

// The results of a PolicyTraffic.
const (
	ResultAllowed = "allowed"
	ResultDenied  = "denied"
	ResultRouted  = "routed"
	ResultLimited = "limited" // a rate limit refused it
)

// PolicyTraffic is the requests or connections that matched an object, by their result.
type PolicyTraffic struct {
	Result string `json:"result"`
	// Unit is request or connection. The rate of Golden is in this unit.
	Unit string `json:"unit"`
	// Server, Route and Authorization are as in `tulle viz authz`; "" if the traffic matched none. Service and Port are
	// those to which the clients of a route sent.
	Server        string `json:"server"`
	Route         string `json:"route"`
	Authorization string `json:"authorization"`
	Service       *Ref   `json:"service"`
	Port          string `json:"port"`
	Golden
	// ActualSuccess and ActualRPS are about the requests of a route with their retries; nil if not known.
	ActualSuccess *float64 `json:"actualSuccess"`
	ActualRPS     *float64 `json:"actualRPS"`
	// Command shows the same numbers, or is their PromQL.
	Command string `json:"command"`
}

const (
	// maxPolicyObjects and maxDenials bound the page.
	maxPolicyObjects = 300
	maxDenials       = 100
	// maxRoleLinks bounds the links of one role of an object, such as the pods that a Server selects.
	maxRoleLinks = 50
	// maxOtherNamespaces bounds how many more namespaces are read for the Services of routes.
	maxOtherNamespaces = 8
)

// policies is what Policies reads. Each part has a question of its own.
type policies struct {
	query   Query
	objects []objects.Configured
	unread  []objects.Unread
	scope   []string // the namespaces to list; one that is "" is all of them
	pods    []corev1.Pod
	running map[string][]*corev1.Pod // of pods, by namespace
	// authzRows are the rows of `tulle viz authz`, which the command authzCommand shows, and routed those of
	// `tulle viz routes svc`.
	authzRows    []authz.Row
	authzCommand string
	routed       []routes.Table
	routedIn     []string // the namespaces that routed is about
	clients      authz.Decisions
	limited      []authz.RateLimited
	limitedErr   error // such as that an older metrics-api does not know the metric
	// connections are those of TLSRoutes and TCPRoutes.
	connections    []routes.Connections
	connectionsErr error
	// podsErr, authzErr and routedErr are missing rights.
	podsErr, authzErr, routedErr error
	notes                        []string
}

// Policies returns the routes and policies of the link's namespace, and the clients that they denied. Missing rights
// are notes of the page. Only if nothing is left to show, they are the error.
func Policies(ctx context.Context, s Sources, q Query) (PoliciesPage, error) {
	p := &policies{query: q}
	if err := p.read(ctx, s); err != nil {
		return PoliciesPage{}, err
	}
	page := PoliciesPage{Objects: p.build()}
	var err error
	if page.Denials, page.MoreDenials, err = p.denials(ctx, s, page.Objects); err != nil {
		return PoliciesPage{}, err
	}
	slices.SortStableFunc(page.Objects, func(a, b PolicyObject) int {
		return cmp.Or(cmp.Compare(policyStateOrder(a.State), policyStateOrder(b.State)),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if over := len(page.Objects) - maxPolicyObjects; over > 0 {
		page.Objects, page.More = page.Objects[:maxPolicyObjects], over
	}
	notes := p.notes
	slices.Sort(notes)
	page.Head = newHead(q, slices.Compact(notes))
	return page, nil
}

var policyStatesWorstFirst = []string{SeverityError, SeverityWarning, StatePending}

// policyStateOrder returns a small number for a state that needs attention. All other states are equal.
func policyStateOrder(state string) int {
	if i := slices.Index(policyStatesWorstFirst, state); i >= 0 {
		return i
	}
	return len(policyStatesWorstFirst)
}

// read asks its questions concurrently, because a source that reads the proxies takes the window for each.
func (p *policies) read(ctx context.Context, s Sources) error {
	p.scope = []string{p.query.Namespace}
	if p.query.Namespace == "" && s.Scope != nil {
		var err error
		if p.scope, err = s.Scope(ctx); err != nil {
			return err
		}
		if len(p.scope) == 0 { // the API server says which right that takes
			p.scope = []string{""}
		}
	}
	var listErr, clientsErr error
	var authzNotes, routedNotes []string
	var questions parts.Group
	listed := make(chan struct{}) // closed when objects and unread are known
	questions.Go(func() {
		defer close(listed)
		if s.Client != nil {
			listErr = p.list(ctx, s)
		}
	})
	if s.Client != nil {
		questions.Go(func() {
			for _, namespace := range p.scope {
				pods, err := objects.New(s.Client, s.ControlNamespace).Pods(ctx, namespace)
				p.pods, p.podsErr = append(p.pods, pods...), cmp.Or(p.podsErr, err)
			}
		})
	}
	questions.Go(func() { authzNotes, p.authzErr = p.readAuthz(ctx, s) })
	questions.Go(func() {
		<-listed
		routedNotes, p.routedErr = p.readRouted(ctx, s)
	})
	questions.Go(func() {
		p.connections, p.connectionsErr = routes.ReadConnections(ctx, s.Numbers, p.query.Namespace, p.query.Window)
	})
	questions.Go(func() { p.clients, clientsErr = authz.ReadDecisions(ctx, s.Numbers, p.query.Namespace, p.query.Window) })
	questions.Go(func() {
		p.limited, p.limitedErr = authz.ReadRateLimited(ctx, s.Numbers, p.query.Namespace, p.query.Window)
	})
	questions.Wait()
	missing := 0
	for _, part := range []struct {
		err  error
		what string
	}{
		{p.podsErr, "Which pods a Server selects, and which clients are denied, is not shown"},
		{p.authzErr, "What policy allowed and denied is not shown"},
		{p.routedErr, "The requests of routes of Services are not shown"},
	} {
		switch {
		case apierrors.IsForbidden(part.err):
			missing++
			p.notes = append(p.notes, fmt.Sprintf("%s: %v.", part.what, part.err))
		case part.err != nil:
			return part.err
		}
	}
	switch {
	case listErr != nil:
		return listErr
	case clientsErr != nil:
		return clientsErr
	case missing == 3 && len(p.objects) == 0 && len(p.unread) > 0:
		return p.podsErr // nothing is left to show
	}
	p.notes = slices.Concat(p.notes, authzNotes, routedNotes, p.clients.Notes,
		unreadNotes(p.unread, p.query.Namespace))
	if len(p.objects) == 0 {
		return resource.CheckNamespace(ctx, s.Objects, p.query.Namespace)
	}
	return nil
}

// list lists the objects of the page's namespaces. A kind is unread if it is in one of them.
func (p *policies) list(ctx context.Context, s Sources) error {
	for _, namespace := range p.scope {
		found, unread, err := objects.ListConfigured(ctx, s.Client, namespace)
		if err != nil {
			return err
		}
		p.objects = append(p.objects, found...)
		for _, u := range unread {
			if !slices.ContainsFunc(p.unread, func(other objects.Unread) bool { return other.Resource == u.Resource }) {
				p.unread = append(p.unread, u)
			}
		}
	}
	return nil
}

// readAuthz reads the rows of `tulle viz authz ns/NAMESPACE`, or those of its pods if the viewer may not list
// namespaces: the sums are the same.
func (p *policies) readAuthz(ctx context.Context, s Sources) ([]string, error) {
	q := p.query
	unknown := func(string, string) *mesh.Inbound { return nil }
	args, with := []string{resource.Namespace}, "ns"
	if q.Namespace != "" {
		args, with = append(args, q.Namespace), "ns/"+q.Namespace
	}
	targets, err := resource.Parse(args)
	if err != nil {
		return nil, err
	}
	result, err := authz.Rows(ctx, s.Numbers, s.Objects, subject.Request{Targets: targets, Window: q.Window}, unknown)
	if apierrors.IsForbidden(err) {
		if targets, err = resource.Parse([]string{"pod"}); err != nil {
			return nil, err
		}
		with = "po" + p.namespaceFlag()
		result, err = authz.Rows(ctx, s.Numbers, s.Objects,
			subject.Request{Targets: targets, Namespace: q.Namespace, Window: q.Window}, unknown)
	}
	p.authzRows, p.authzCommand = result.Rows, "tulle viz authz "+with+" -t "+WindowText(q.Window)
	return result.Notes, err
}

// readRouted reads the rows of `tulle viz routes svc`, also for the Services of other namespaces to which routes of the
// page are attached. Without the right to list those, a note says so.
func (p *policies) readRouted(ctx context.Context, s Sources) ([]string, error) {
	type answer struct {
		routes.Result
		err error
	}
	namespaces := append([]string{p.query.Namespace}, p.otherNamespaces()...)
	answers := make([]answer, len(namespaces))
	var questions parts.Group
	for i, namespace := range namespaces {
		questions.Go(func() {
			targets, err := resource.Parse([]string{"service"})
			if err != nil {
				answers[i].err = err
				return
			}
			answers[i].Result, answers[i].err = routes.Tables(ctx, s.Numbers, s.Objects,
				routes.Request{Targets: targets, Namespace: namespace, Window: p.query.Window})
		})
	}
	questions.Wait()
	var notes []string
	for i, a := range answers {
		switch {
		case a.err == nil || i > 0 && errors.Is(a.err, resource.ErrNotFound):
			p.routed, notes = append(p.routed, a.Tables...), append(notes, a.Notes...)
			p.routedIn = append(p.routedIn, namespaces[i])
		case i > 0:
			notes = append(notes, fmt.Sprintf("The requests of routes to namespace %s are not shown: %v.", namespaces[i],
				a.err))
		default:
			return nil, a.err
		}
	}
	return notes, nil
}

// otherNamespaces returns the namespaces of Services that routes of the page's own namespace are attached to.
func (p *policies) otherNamespaces() (out []string) {
	if p.query.Namespace == "" {
		return nil
	}
	for _, c := range p.objects {
		o := newPolicyObject(c)
		describeRoute(&o, c.Object)
		if profile, ok := c.Object.(*v1alpha1.ServiceProfile); ok {
			describeProfile(&o, profile)
		}
		for _, l := range o.linked(RoleParent, "service") {
			if isName(l.Namespace) && l.Namespace != p.query.Namespace && !slices.Contains(out, l.Namespace) {
				out = append(out, l.Namespace)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxOtherNamespaces)]
}

// namespaceFlag returns the flag that narrows a command to the page's namespaces, with a space before it.
func (p *policies) namespaceFlag() string {
	if p.query.Namespace == "" {
		return " -A"
	}
	return " -n " + p.query.Namespace
}
