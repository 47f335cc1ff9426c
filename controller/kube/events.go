package kube

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

// Limits of what is written to the API server, whatever users do. Problems beyond the queue are dropped and counted;
// they are in the log and in the metrics all the same.
const (
	eventQueue  = 256
	eventsRate  = 5 // a second
	eventsBurst = 25
)

// Recorder writes problems as Events of the objects that have them.
type Recorder struct {
	log     *zap.Logger
	client  kubernetes.Interface
	queue   chan model.Problem
	results *prometheus.CounterVec
}

// NewRecorder returns a Recorder; Run makes it write.
func NewRecorder(c Config) *Recorder {
	r := &Recorder{
		log: c.Log, client: c.Clients.Kubernetes, queue: make(chan model.Problem, eventQueue),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_kube_events_total", Help: "Events about objects, by what became of them.",
		}, []string{"result"}),
	}
	c.Registry.MustRegister(r.results)
	return r
}

// Report queues p. It never blocks.
func (r *Recorder) Report(p model.Problem) {
	select {
	case r.queue <- p:
	default:
		r.results.WithLabelValues("dropped").Inc()
	}
}

// Run writes what is reported until ctx ends, whose error it returns.
func (r *Recorder) Run(ctx context.Context) error {
	limit := rate.NewLimiter(eventsRate, eventsBurst)
	for {
		if err := limit.Wait(ctx); err != nil {
			return ctx.Err()
		}
		select {
		case p := <-r.queue:
			r.write(ctx, p)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Recorder) write(ctx context.Context, p model.Problem) {
	e := newEvent(p, time.Now())
	_, err := r.client.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	switch {
	case err == nil:
		r.results.WithLabelValues("written").Inc()
	case apierrors.IsAlreadyExists(err):
		r.results.WithLabelValues("known").Inc()
	default:
		r.results.WithLabelValues("failed").Inc()
		r.log.Warn("failed to write event", zap.String("about", e.InvolvedObject.Name), zap.Error(err))
	}
}

// newEvent names the Event after its content, so that replicas and restarts of the controller write it once.
func newEvent(p model.Problem, now time.Time) *corev1.Event {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", p.Object.UID, p.Path, p.Message)
	// Events about objects without a namespace belong into default.
	namespace := cmp.Or(p.Object.Namespace, metav1.NamespaceDefault)
	at := metav1.NewTime(now)
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%.200s.%016x", p.Object.Name, h.Sum64())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: apiVersion(p.Object), Kind: p.Object.Kind, Namespace: p.Object.Namespace, Name: p.Object.Name,
			UID: p.Object.UID,
		},
		Type: corev1.EventTypeWarning, Reason: reason(p), Message: fmt.Sprintf("%.1000s", p.String()),
		Source:         corev1.EventSource{Component: mesh.DestinationName},
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}
}

// reason sorts problems for people: by an annotation, by a field, and by what became of a definition.
func reason(p model.Problem) string {
	switch {
	case p.Object.Kind == definitionKind:
		return p.Reason
	case p.IsAnnotation():
		return "InvalidAnnotation"
	default:
		return "InvalidField"
	}
}

// apiVersion returns the best version of the object's kind: ObjectRef has none, and Events need one.
func apiVersion(o model.ObjectRef) string {
	if o.Group == "" || o.Group == definitionGroup {
		return schema.GroupVersion{Group: o.Group, Version: "v1"}.String()
	}
	for _, k := range kinds.Configuration() {
		if k.Group == o.Group && k.Name == o.Kind {
			return schema.GroupVersion{Group: o.Group, Version: k.Versions[0]}.String()
		}
	}
	return o.Group
}
