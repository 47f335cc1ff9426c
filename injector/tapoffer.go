package injector

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// offerFresh is how long an APIService, or an error, holds.
	offerFresh = 5 * time.Second
	// absenceFresh is how long it holds that there is no APIService. It is short: the pods of the viz extension ask just
	// before the APIService is written, and the pods that are created just after have to get tap.
	absenceFresh = 100 * time.Millisecond
	// offerTimeout bounds how long pods wait for it.
	offerTimeout = 2 * time.Second
)

// apiServiceOffers implements tapOffers: it reads the APIService of tap, and remembers it for a moment. Only
// administrators write APIServices, while users may make namespaces. Without an answer nobody is offered tap.
type apiServiceOffers struct {
	client dynamic.Interface
	log    *zap.Logger

	mu      sync.Mutex // held during a read, so that one reads for all; guards the fields below
	expires time.Time
	service *unstructured.Unstructured // nil if there is none
}

// offersTap implements tapOffers.
func (o *apiServiceOffers) offersTap(ctx context.Context, namespace string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !time.Now().Before(o.expires) {
		// Others wait for this answer, so it does not end with the review that asked for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), offerTimeout)
		defer cancel()
		service, err := o.client.Resource(inject.APIServices).Get(ctx, mesh.TapAPIService, metav1.GetOptions{})
		fresh := offerFresh
		switch {
		case apierrors.IsNotFound(err):
			service, fresh = nil, absenceFresh
		case err != nil:
			o.log.Warn("proxies get no tap", zap.String("APIService", mesh.TapAPIService), zap.Error(err))
			service = nil
		}
		o.service, o.expires = service, time.Now().Add(fresh)
	}
	return inject.OffersTap(o.service, namespace)
}
