// Package rights limits what the dashboard's server in a cluster shows to what its viewer may see.
//
// It owns the question whether a viewer may see a namespace, and removes the other namespaces from numbers and objects.
// Objects are read with the viewer's own credentials, so the API server decides about them. Numbers are read once for
// all viewers, so this package decides about them. The one idea: a viewer who may list the pods of a namespace sees it.
package rights

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/cli/cluster"
)

const (
	// reviewTTL is how long a decision is used, and so how long numbers are shown after a right is gone.
	reviewTTL = 30 * time.Second
	// reviewTimeout bounds one review.
	reviewTimeout = 5 * time.Second
	// maxConcurrentReviews bounds the reviews for one viewer that run at once.
	maxConcurrentReviews = 8
	// maxReviews bounds the decisions that are stored for one viewer.
	maxReviews = 2000
)

// Namespaces returns the metadata of every namespace of the cluster, with the server's own rights.
type Namespaces func(ctx context.Context) ([]metav1.PartialObjectMetadata, error)

// Rights are the rights of one viewer. Several goroutines may use them.
type Rights struct {
	client     *cluster.Client
	namespaces Namespaces

	mu      sync.Mutex // guards the field below
	reviews map[question]*review
}

// question is whether the viewer may list a resource in a namespace; "" is every namespace.
type question struct {
	resource  schema.GroupResource
	namespace string
}

// podsResource is the resource that a viewer has to list to see a namespace.
var podsResource = schema.GroupResource{Resource: "pods"}

// review is one decision of the API server, or the wait for it.
type review struct {
	at   time.Time
	done chan struct{} // closed when the fields below are set
	may  bool
	err  error
}

// New returns the rights of the viewer whose credentials the client has.
func New(client *cluster.Client, namespaces Namespaces) *Rights {
	return &Rights{client: client, namespaces: namespaces, reviews: map[question]*review{}}
}

// MaySee reports whether the viewer may see a namespace; "" is every namespace. A decision is used for reviewTTL. The
// error says that the API server did not decide, or that ctx ended.
func (r *Rights) MaySee(ctx context.Context, namespace string) (bool, error) {
	return r.mayList(ctx, question{podsResource, namespace})
}

// MayList returns the resources that the viewer may list in a namespace; "" is every namespace. It stops at the first
// error.
func (r *Rights) MayList(ctx context.Context, resources []schema.GroupResource, namespace string) (
	[]schema.GroupResource, error) {
	questions := make([]question, len(resources))
	for i, resource := range resources {
		questions[i] = question{resource, namespace}
	}
	var may []schema.GroupResource
	allowed, err := r.filter(ctx, questions)
	for _, q := range allowed {
		may = append(may, q.resource)
	}
	return may, err
}

func (r *Rights) mayList(ctx context.Context, q question) (bool, error) {
	if ctx.Err() != nil { // nobody waits for the answer
		return false, fmt.Errorf("ask for the rights in %s: %w", where(q.namespace), ctx.Err())
	}
	v, first := r.find(q)
	if first {
		r.ask(ctx, q, v)
	}
	select {
	case <-v.done:
		return v.may, v.err
	case <-ctx.Done():
		return false, fmt.Errorf("ask for the rights in %s: %w", where(q.namespace), ctx.Err())
	}
}

// find returns the decision about a question. first is true if it is new: then the caller has to ask.
func (r *Rights) find(q question) (v *review, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.reviews[q]; v != nil && time.Since(v.at) < reviewTTL {
		return v, false
	}
	if len(r.reviews) >= maxReviews {
		clear(r.reviews)
	}
	v = &review{at: time.Now(), done: make(chan struct{})}
	r.reviews[q] = v
	return v, true
}

// ask asks the API server with the viewer's credentials. It does not end with ctx, because others wait for the answer.
func (r *Rights) ask(ctx context.Context, q question, v *review) {
	defer close(v.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
	defer cancel()
	answer, err := r.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: q.namespace, Verb: "list",
				Group: q.resource.Group, Resource: q.resource.Resource},
		}}, metav1.CreateOptions{})
	if err != nil {
		v.err = fmt.Errorf("ask for the rights in %s: %w", where(q.namespace), err)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.reviews[q] == v {
			delete(r.reviews, q)
		}
		return
	}
	v.may = answer.Status.Allowed
}

func where(namespace string) string { return cmp.Or(namespace, "every namespace") }

// Filter returns the namespaces that the viewer may see, sorted. It stops at the first error.
func (r *Rights) Filter(ctx context.Context, namespaces []string) ([]string, error) {
	questions := make([]question, len(namespaces))
	for i, namespace := range namespaces {
		questions[i] = question{podsResource, namespace}
	}
	var may []string
	allowed, err := r.filter(ctx, questions)
	for _, q := range allowed {
		may = append(may, q.namespace)
	}
	slices.Sort(may)
	return may, err
}

// Scope returns the namespaces to list for a question about all of them: "" if the viewer may see every namespace,
// otherwise those that the viewer may see. It returns an error for more than the server lists one by one.
func (r *Rights) Scope(ctx context.Context) ([]string, error) {
	all, err := r.MaySee(ctx, "")
	if err != nil {
		return nil, err
	}
	if all {
		return []string{metav1.NamespaceAll}, nil
	}
	visible, err := r.VisibleNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	if len(visible) > maxListed {
		return nil, tooMany(len(visible))
	}
	names := []string{}
	for _, n := range visible {
		names = append(names, n.Name)
	}
	return names, nil
}

// filter returns the questions whose answer is yes, in their order. It stops at the first error.
func (r *Rights) filter(ctx context.Context, questions []question) (yes []question, err error) {
	may := make([]bool, len(questions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConcurrentReviews)
	for i, q := range questions {
		group.Go(func() (err error) {
			may[i], err = r.mayList(ctx, q)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, q := range questions {
		if may[i] {
			yes = append(yes, q)
		}
	}
	return yes, nil
}

// VisibleNamespaces returns the metadata of the namespaces that the viewer may see, sorted by name.
func (r *Rights) VisibleNamespaces(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	all, err := r.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	may, err := r.Filter(ctx, names)
	if err != nil {
		return nil, err
	}
	var visible []metav1.PartialObjectMetadata
	for _, n := range all {
		if _, ok := slices.BinarySearch(may, n.Name); ok {
			visible = append(visible, n)
		}
	}
	slices.SortFunc(visible, func(a, b metav1.PartialObjectMetadata) int { return cmp.Compare(a.Name, b.Name) })
	return visible, nil
}
