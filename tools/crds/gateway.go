package main

import (
	"fmt"
	"os"
	"path/filepath"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const gatewayModule = "sigs.k8s.io/gateway-api"

// gatewayPlurals are the kinds of the Gateway API that the mesh reads.
var gatewayPlurals = []string{"grpcroutes", "httproutes", "referencegrants", "tcproutes", "tlsroutes"}

// gatewayAPI is what is taken from the Gateway API's module, without descriptions.
type gatewayAPI struct {
	// standard holds the definitions of gatewayPlurals in the standard channel.
	standard []*apiextensionsv1.CustomResourceDefinition
	// httpRoute is the newest version of HTTPRoute in the experimental channel, which is the whole of the kind.
	httpRoute *apiextensionsv1.CustomResourceDefinitionVersion
}

func readGateway(root string) (*gatewayAPI, error) {
	dir, err := moduleDir(root, gatewayModule)
	if err != nil {
		return nil, err
	}
	api := &gatewayAPI{}
	for _, plural := range gatewayPlurals {
		d, err := readDefinition(dir, "standard", plural)
		if err != nil {
			return nil, err
		}
		api.standard = append(api.standard, d)
	}
	experimental, err := readDefinition(dir, "experimental", "httproutes")
	if err != nil {
		return nil, err
	}
	for i := range experimental.Spec.Versions {
		if v := &experimental.Spec.Versions[i]; v.Storage {
			api.httpRoute = v
		}
	}
	return api, nil
}

// readDefinition reads a definition of a channel. Versions that are not served stay: a cluster may have stored them.
func readDefinition(dir, channel, plural string) (*apiextensionsv1.CustomResourceDefinition, error) {
	data, err := os.ReadFile(filepath.Join(dir, "config/crd", channel, "gateway.networking.k8s.io_"+plural+".yaml"))
	if err != nil {
		return nil, err
	}
	d := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, d); err != nil {
		return nil, fmt.Errorf("read %s: %w", plural, err)
	}
	for _, v := range d.Spec.Versions {
		visit(v.Schema.OpenAPIV3Schema, dropDescription)
	}
	return d, nil
}
