package check

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
)

func gatewayDefinitions() category {
	return category{"gateway-api-crd", []check{
		{anchor: "gateway-api-crd", text: "the Gateway API's routes are served", warns: true, ask: askGatewayDefinitions},
	}}
}

func ownDefinitions() category {
	return category{"tulle-crd", []check{
		{anchor: "l5d-config-crds", text: "control plane CustomResourceDefinitions exist", transient: true,
			ask: askOwnDefinitions},
	}}
}

// askOwnDefinitions wants every version of every kind: a manifest may be written in any.
func askOwnDefinitions(f *facts) error {
	if f.served.err != nil {
		return f.served.err
	}
	var errs []error
	for _, d := range f.definitions {
		for _, v := range d.Served {
			gvr := d.Resource.GroupResource().WithVersion(v)
			if !d.Gateway() && !f.served.value[gvr] {
				errs = append(errs, fmt.Errorf("%s is not served in %s", d.Name(), v))
			}
		}
	}
	return errors.Join(errs...)
}

// requiredGateway are the kinds of the Gateway API without which guides and converters do not work. The others are for
// those who use them.
var requiredGateway = []string{"grpcroutes", "httproutes"}

func askGatewayDefinitions(f *facts) error {
	if f.served.err != nil {
		return f.served.err
	}
	var errs []error
	for _, plural := range requiredGateway {
		if !f.served.value[schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: plural}] {
			errs = append(errs, fmt.Errorf("%s.gateway.networking.k8s.io is not served in v1", plural))
		}
	}
	return errors.Join(errs...)
}

// servedVersions asks the cluster which versions of the definitions' resources it serves.
func servedVersions(cl *cluster.Client, definitions []install.Definition) (map[schema.GroupVersionResource]bool,
	error) {
	served := map[schema.GroupVersionResource]bool{}
	asked := map[schema.GroupVersion]bool{}
	for _, d := range definitions {
		for _, v := range d.Served {
			gv := schema.GroupVersion{Group: d.Resource.Group, Version: v}
			if asked[gv] {
				continue
			}
			asked[gv] = true
			list, err := cl.Discovery().ServerResourcesForGroupVersion(gv.String())
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("ask what %s has: %w", gv, err)
			}
			for _, r := range list.APIResources {
				served[gv.WithResource(r.Name)] = true
			}
		}
	}
	return served, nil
}
