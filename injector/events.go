package injector

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/mesh"
)

// event is one line of `kubectl describe` on a workload.
type event struct {
	about   corev1.ObjectReference
	reason  string
	message string
}

// Limits of events: they are a courtesy, and must cost the API server little even when somebody creates pods in a loop.
const (
	eventQueue  = 256              // how many may wait; more are dropped and counted
	eventRate   = 5                // a second, all together
	eventRepeat = 10 * time.Minute // the same event about the same object is not written again for so long
	eventMemory = 4096             // how many are remembered for that
)

// recorder writes events one after the other.
type recorder struct {
	client  kubernetes.Interface
	metrics *metrics
	log     *zap.Logger
	queue   chan event // capacity eventQueue: a burst of pods of many workloads
}

func newRecorder(client kubernetes.Interface, m *metrics, log *zap.Logger) *recorder {
	return &recorder{client: client, metrics: m, log: log, queue: make(chan event, eventQueue)}
}

// notify queues an event, or drops it when the queue is full or when it is about nothing that exists yet.
func (r *recorder) notify(e event) {
	if e.about.UID == "" {
		return // a pod of its own: at admission it has no name to attach an event to
	}
	select {
	case r.queue <- e:
	default:
		r.metrics.events.WithLabelValues("dropped").Inc()
	}
}

// run writes queued events until ctx ends.
func (r *recorder) run(ctx context.Context) error {
	limit := rate.NewLimiter(eventRate, 2*eventRate)
	type key struct{ uid, reason, message string }
	recent := map[key]time.Time{}
	for {
		var e event
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e = <-r.queue:
		}
		now := time.Now()
		k := key{string(e.about.UID), e.reason, e.message}
		if last, ok := recent[k]; ok && now.Sub(last) < eventRepeat {
			r.metrics.events.WithLabelValues("repeated").Inc()
			continue
		}
		if len(recent) >= eventMemory {
			clear(recent)
		}
		recent[k] = now
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		if err := r.write(ctx, e, now); err != nil {
			r.metrics.events.WithLabelValues("failed").Inc()
			r.log.Debug("event not written", zap.String("object", e.about.Kind+" "+e.about.Namespace+"/"+e.about.Name),
				zap.Error(err))
			continue
		}
		r.metrics.events.WithLabelValues("written").Inc()
	}
}

func (r *recorder) write(ctx context.Context, e event, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	kind := corev1.EventTypeNormal
	if e.reason == "InjectionSkipped" {
		kind = corev1.EventTypeWarning
	}
	at := metav1.NewTime(now)
	_, err := r.client.CoreV1().Events(e.about.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: e.about.Name + ".", Namespace: e.about.Namespace},
		InvolvedObject: e.about, Reason: e.reason, Message: e.message, Type: kind,
		Source: corev1.EventSource{Component: mesh.InjectorName}, FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	return nil
}
