package injector

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// namespaceIndex follows the metadata of all namespaces.
type namespaceIndex struct {
	client   metadata.Interface
	informer cache.SharedIndexInformer
}

var namespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// newNamespaceIndex returns an index that calls changed, which must not block, after each change.
func newNamespaceIndex(client metadata.Interface, changed func()) (*namespaceIndex, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(client, namespacesResource, "", 0, cache.Indexers{},
		nil).Informer()
	err := informer.SetTransform(func(o any) (any, error) {
		if m, ok := o.(*metav1.PartialObjectMetadata); ok {
			m.ManagedFields = nil
		}
		return o, nil
	})
	if err != nil {
		return nil, fmt.Errorf("set transform: %w", err)
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return nil, fmt.Errorf("add handler: %w", err)
	}
	return &namespaceIndex{client: client, informer: informer}, nil
}

// namespace implements namespaceGetter from memory. A namespace that the watch has not brought yet, such as one created
// a moment ago together with its first pod, is asked for.
func (x *namespaceIndex) namespace(ctx context.Context, name string) (inject.Namespace, error) {
	if o, ok, err := x.informer.GetStore().GetByKey(name); err == nil && ok {
		return toNamespace(o.(*metav1.PartialObjectMetadata)), nil
	}
	m, err := x.client.Resource(namespacesResource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return inject.Namespace{}, err
	}
	return toNamespace(m), nil
}

func toNamespace(m *metav1.PartialObjectMetadata) inject.Namespace {
	return inject.Namespace{Name: m.Name, Labels: m.Labels, Annotations: m.Annotations}
}

// optedIn lists the namespaces whose pods are to be injected unless they say otherwise, and the UID of the control
// plane's own. Those where injection is mandatory have a webhook of their own.
func (x *namespaceIndex) optedIn(controlPlane string) (names []string, own types.UID) {
	for _, o := range x.informer.GetStore().List() {
		m := o.(*metav1.PartialObjectMetadata)
		if m.Name == controlPlane {
			own = m.UID
			continue
		}
		ask := m.Annotations[mesh.InjectAnnotation]
		if (ask == "enabled" || ask == "ingress") && m.Labels[mesh.EnforceLabel] != mesh.EnforceRequired {
			names = append(names, m.Name)
		}
	}
	return names, own
}

// ownerLookup resolves a pod's controller and remembers the controllers that have one themselves.
type ownerLookup struct {
	client metadata.Interface
	log    *zap.Logger

	mu    sync.Mutex // guards known
	known map[types.UID]*metav1.OwnerReference
}

// maxOwners bounds the memory of ownerLookup; a pod of a workload that was forgotten costs one request.
const maxOwners = 4096

func newOwnerLookup(client metadata.Interface, log *zap.Logger) *ownerLookup {
	return &ownerLookup{client: client, log: log, known: map[types.UID]*metav1.OwnerReference{}}
}

// owner implements ownerFinder. Where a ReplicaSet or Job cannot be read the answer is that object itself.
func (l *ownerLookup) owner(ctx context.Context, namespace string, pod *corev1.Pod) (inject.Owner,
	corev1.ObjectReference) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return inject.Owner{}, corev1.ObjectReference{}
	}
	if above, err := l.above(ctx, namespace, ref); err != nil {
		l.log.Warn("owner not found", zap.String("object", ref.Kind+" "+namespace+"/"+ref.Name), zap.Error(err))
	} else if above != nil {
		ref = above
	}
	return inject.Owner{Kind: ref.Kind, Name: ref.Name}, corev1.ObjectReference{
		APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: namespace, Name: ref.Name, UID: ref.UID,
	}
}

// above returns the controller of a ReplicaSet or Job, and nil for what has none or is of another kind.
func (l *ownerLookup) above(ctx context.Context, namespace string, ref *metav1.OwnerReference) (*metav1.OwnerReference,
	error) {
	var resource schema.GroupVersionResource
	switch ref.Kind + "." + ref.APIVersion {
	case "ReplicaSet.apps/v1":
		resource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	case "Job.batch/v1":
		resource = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	default:
		return nil, nil
	}
	l.mu.Lock()
	above, ok := l.known[ref.UID]
	l.mu.Unlock()
	if ok {
		return above, nil
	}
	m, err := l.client.Resource(resource).Namespace(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if m.UID != ref.UID {
		return nil, fmt.Errorf("it has the UID %s, the pod says %s", m.UID, ref.UID)
	}
	above = metav1.GetControllerOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxOwners {
		clear(l.known)
	}
	l.known[ref.UID] = above
	return above, nil
}
