package web

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/rights"
)

const (
	// configuredFor is how long a reading of the configuration serves everybody who may read the same.
	configuredFor = 30 * time.Second
	// configurationTimeout bounds one reading.
	configurationTimeout = 30 * time.Second
	// maxConfigurations bounds the readings that are kept, and maxConfiguring those that run at once.
	maxConfigurations = 64
	maxConfiguring    = 2
)

// Settings returns what the model needs of the installation's values, read with the server's own rights.
type Settings func(context.Context) (model.Config, error)

// configurations are readings of what the control plane tells proxies: of everything, or of one namespace. A viewer's
// own credentials read it, and viewers who may list the same share a reading.
type configurations struct {
	settings   Settings
	namespaces rights.Namespaces
	reading    chan struct{} // holds one value for each reading that runs

	mu   sync.Mutex // guards the field below
	kept map[string]*configured
}

// configured is one reading.
type configured struct {
	mu    sync.Mutex // held while it is read
	at    time.Time  // zero before it is
	model *explain.Retained
}

func newConfigurations(settings Settings, namespaces rights.Namespaces) *configurations {
	return &configurations{settings: settings, namespaces: namespaces, reading: make(chan struct{}, maxConfiguring),
		kept: map[string]*configured{}}
}

// Resources by what needs them. A viewer who may not list one of the first does not get an answer.
var (
	servingResources = []schema.GroupResource{{Resource: "services"}, {Resource: "pods"},
		{Group: discoveryv1.GroupName, Resource: "endpointslices"}}
	nodeResource     = schema.GroupResource{Resource: "nodes"}
	grantResource    = schema.GroupResource{Group: "gateway.networking.k8s.io", Resource: "referencegrants"}
	routingResources = []schema.GroupResource{
		{Group: "gateway.networking.k8s.io", Resource: "httproutes"},
		{Group: "gateway.networking.k8s.io", Resource: "grpcroutes"},
		{Group: resource.PolicyGroup, Resource: "httproutes"},
		{Group: "linkerd.io", Resource: "serviceprofiles"},
	}
)

// policyResources are those that say who may call a pod.
func policyResources() (out []schema.GroupResource) {
	for _, k := range kinds.Configuration() {
		if r := k.Resource("").GroupResource(); k.Group == resource.PolicyGroup || slices.Contains(routingResources[:2], r) {
			out = append(out, r)
		}
	}
	return out
}

// configurationResources are all that a model is made of, besides nodes and namespaces.
func configurationResources() []schema.GroupResource {
	out := slices.Clone(servingResources)
	for _, k := range kinds.Configuration() {
		out = append(out, k.Resource("").GroupResource())
	}
	return out
}

// viewerConfiguration is what one viewer may know of the configuration.
type viewerConfiguration struct {
	all    *configurations
	rights *rights.Rights
	client *cluster.Client
}

// of returns what is configured about the workloads and Services of a namespace.
func (v *viewerConfiguration) of(ctx context.Context, namespace string) (board.Configuration, error) {
	s, err := v.scope(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if s.of, err = v.all.read(ctx, v.client, s); err != nil {
		return nil, err
	}
	s.others = func(namespace string) board.Configuration {
		other, err := v.of(ctx, namespace)
		if err != nil {
			return nil // the rows of this Service say nothing of their weights, as without configuration
		}
		return other
	}
	return s, nil
}

// scope is what a viewer may read of the configuration about a namespace. It implements board.Configuration.
type scope struct {
	namespace string
	// places are the namespaces where resources are listed; "" is all of them.
	places map[schema.GroupResource]string
	of     *explain.Retained
	others func(namespace string) board.Configuration
}

// scope asks which resources the viewer may list everywhere, and the others of them in the namespace.
func (v *viewerConfiguration) scope(ctx context.Context, namespace string) (*scope, error) {
	s := &scope{namespace: namespace, places: map[schema.GroupResource]string{}}
	all := configurationResources()
	everywhere, err := v.rights.MayList(ctx, append(slices.Clone(all), nodeResource), "")
	if err != nil {
		return nil, err
	}
	for _, r := range everywhere {
		s.places[r] = ""
	}
	var rest []schema.GroupResource
	for _, r := range all {
		if _, ok := s.places[r]; !ok {
			rest = append(rest, r)
		}
	}
	if len(rest) == 0 {
		return s, nil
	}
	here, err := v.rights.MayList(ctx, rest, namespace)
	if err != nil {
		return nil, err
	}
	for _, r := range here {
		s.places[r] = namespace
	}
	for _, r := range servingResources[1:] { // of other namespaces they are not needed
		if _, ok := s.places[r]; ok {
			s.places[r] = namespace
		}
	}
	if missing := s.missing(servingResources); missing != nil {
		return nil, fmt.Errorf("you need the verb list in namespace %q on %s", namespace, strings.Join(missing, ", "))
	}
	return s, nil
}

// missing returns the names of those resources that are listed nowhere.
func (s *scope) missing(resources []schema.GroupResource) (names []string) {
	for _, r := range resources {
		if _, ok := s.places[r]; !ok {
			names = append(names, r.String())
		}
	}
	return names
}

// Missing returns notes about what the viewer may not list.
func (s *scope) Missing() (notes []string) {
	for what, resources := range map[string][]schema.GroupResource{
		"Routes without requests, and the shares that weights ask for, are not shown": routingResources,
		"Authorizations without requests are not shown":                               policyResources(),
	} {
		if missing := s.missing(resources); missing != nil {
			notes = append(notes, fmt.Sprintf("%s: you need the verb list in namespace %q on %s.", what, s.namespace,
				strings.Join(missing, ", ")))
		}
	}
	slices.Sort(notes)
	return notes
}

// knows reports whether what routes to a Service's backends in a namespace need is read.
func (s *scope) knows(namespace string) bool {
	return namespace == s.namespace || s.everywhere(servingResources[0]) && s.everywhere(grantResource)
}

// everywhere reports whether a resource is listed in all namespaces.
func (s *scope) everywhere(r schema.GroupResource) bool {
	place, ok := s.places[r]
	return ok && place == ""
}

// about reports whether the reading has what is said about a namespace.
func (s *scope) about(namespace string) bool {
	return namespace == s.namespace || s.everywhere(servingResources[1])
}

// Inbound implements board.Configuration.
func (s *scope) Inbound(pod *corev1.Pod) *mesh.Inbound {
	if !s.about(pod.Namespace) || s.missing(policyResources()) != nil {
		return nil
	}
	return s.of.Inbound(pod)
}

// Ports implements board.Configuration. That a backend of a namespace which the viewer may not read is not valid is not
// known, and without the right to list routes there are none.
func (s *scope) Ports(namespace, service string) (ports []*mesh.Outbound) {
	if !s.about(namespace) {
		if other := s.others(namespace); other != nil {
			return other.Ports(namespace, service)
		}
		return nil
	}
	routed := s.missing(routingResources) == nil
	for _, port := range s.of.Ports(namespace, service) {
		own := *port
		if !routed {
			own.Routes, own.Profile = nil, nil
		}
		own.Routes = slices.Clone(own.Routes)
		for i := range own.Routes {
			rules := slices.Clone(own.Routes[i].Rules)
			for j := range rules {
				rules[j].Backends = s.withoutGuesses(rules[j].Backends)
			}
			own.Routes[i].Rules = rules
		}
		if own.Profile != nil {
			profile := *own.Profile
			profile.Overrides = s.withoutGuesses(profile.Overrides)
			own.Profile = &profile
		}
		ports = append(ports, &own)
	}
	return ports
}

// withoutGuesses returns the backends without the faults of those that the viewer may not read.
func (s *scope) withoutGuesses(backends []mesh.WeightedBackend) []mesh.WeightedBackend {
	out := slices.Clone(backends)
	for i, b := range out {
		if namespace := cmp.Or(b.Service.Namespace, b.Ref.Namespace); namespace != "" && !s.knows(namespace) {
			out[i].Invalid = ""
		}
	}
	return out
}

// Routes implements board.Configuration.
func (s *scope) Routes(namespace, service string) []explain.ServiceRoute {
	switch {
	case !s.about(namespace):
		if other := s.others(namespace); other != nil {
			return other.Routes(namespace, service)
		}
		return nil
	case s.missing(routingResources) != nil:
		return nil
	}
	return s.of.Routes(namespace, service)
}

// key is equal for viewers who may list the same.
func (s *scope) key() string {
	var names []string
	for r, place := range s.places {
		names = append(names, r.String()+"@"+place)
	}
	slices.Sort(names)
	if !s.everywhere(servingResources[1]) {
		names = append(names, "in "+s.namespace)
	}
	return strings.Join(names, " ")
}

// read returns the reading of a scope, which is new or not old. The viewer's client reads.
func (c *configurations) read(ctx context.Context, client *cluster.Client, s *scope) (*explain.Retained, error) {
	key := s.key()
	c.mu.Lock()
	found := c.kept[key]
	if found == nil {
		if len(c.kept) >= maxConfigurations {
			clear(c.kept) // who reads now still has its own
		}
		found = &configured{}
		c.kept[key] = found
	}
	c.mu.Unlock()
	found.mu.Lock()
	defer found.mu.Unlock()
	if !found.at.IsZero() && time.Since(found.at) < configuredFor {
		return found.model, nil
	}
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read the configuration: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, configurationTimeout)
	defer cancel()
	of, err := c.load(ctx, client, s)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	found.model, found.at = explain.NewRetained(of), time.Now()
	time.AfterFunc(configuredFor, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.kept[key] == found {
			delete(c.kept, key)
		}
	})
	return found.model, nil
}

func (c *configurations) load(ctx context.Context, client *cluster.Client, s *scope) (*explain.Model, error) {
	settings, err := c.settings(ctx)
	if err != nil {
		return nil, err
	}
	namespaces, err := c.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	events, err := kube.ReadPlaces(ctx, kube.Clients{Kubernetes: client.Interface, Dynamic: client.Dynamic,
		Metadata: client.Metadata}, func(r schema.GroupResource) (string, bool) {
		place, ok := s.places[r]
		return place, ok
	})
	if err != nil {
		return nil, err
	}
	for _, n := range namespaces {
		if s.about(n.Name) {
			events = append(events, model.Event{Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name,
				UID: n.UID, Annotations: n.Annotations}}})
		}
	}
	return explain.New(settings, events), nil
}
