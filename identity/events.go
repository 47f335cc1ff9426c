package identity

import (
	"context"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/tulle-mesh/tulle/mesh"
)

// announcer publishes each notice as an Event on the Deployment, a log line, and a counter.
type announcer struct {
	recorder record.EventRecorder
	object   *corev1.ObjectReference
	metrics  *metrics
	log      *zap.Logger
}

// newAnnouncer returns an announcer and the function that ends it. `kubectl describe` finds Events by the Deployment's
// UID; without the UID, only `kubectl get events` shows them.
func newAnnouncer(ctx context.Context, client kubernetes.Interface, namespace string, m *metrics,
	log *zap.Logger) (*announcer, func()) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events(namespace)})
	a := &announcer{
		recorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: mesh.IdentityName}),
		object: &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace,
			Name: mesh.IdentityName},
		metrics: m,
		log:     log,
	}
	if deployment, err := client.AppsV1().Deployments(namespace).Get(ctx, mesh.IdentityName,
		metav1.GetOptions{}); err == nil {
		a.object.UID = deployment.UID
	} else {
		log.Info("events are written without the Deployment's UID", zap.Error(err))
	}
	return a, broadcaster.Shutdown
}

func (a *announcer) announce(n notice) {
	kind, line := corev1.EventTypeNormal, a.log.Info
	if n.warning {
		kind, line = corev1.EventTypeWarning, a.log.Error
	}
	line("authority: "+n.message, zap.String("reason", n.reason))
	a.metrics.notices.WithLabelValues(n.reason).Inc()
	a.recorder.Event(a.object, kind, n.reason, n.message)
}
