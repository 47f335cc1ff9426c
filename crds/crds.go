// Package crds holds the CustomResourceDefinitions of the mesh.
//
// It owns the definitions of the mesh's own kinds, and of the Gateway API's kinds that it reads; crds/v1alpha1 has the
// Go types, and the chart the YAML. It must not import a client. The one idea: it describes what a cluster should have,
// and other packages look at what a cluster has.
package crds

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/install/chart"
)

//go:generate sh -c "cd .. && go tool -modfile=tools/go.mod controller-gen object paths=./crds/v1alpha1 && go run -C tools ./crds"

// Definition is one CustomResourceDefinition.
type Definition struct {
	// Resource is the resource that it defines, in the stored version.
	Resource schema.GroupVersionResource
	// Served lists the served versions.
	Served []string
	// YAML is the definition, one document.
	YAML []byte
}

// Own returns the definitions of the mesh's own kinds, ordered by group and kind.
func Own() ([]Definition, error) { return read(ownIndex()) }

// Gateway returns the definitions of the Gateway API's kinds that the mesh reads. They are those of its standard
// channel, without descriptions.
func Gateway() ([]Definition, error) { return read(gatewayIndex()) }

// entry is a line of the generated index.
type entry struct {
	file, group, plural, stored string
	served                      []string
}

func read(index []entry) ([]Definition, error) {
	var definitions []Definition
	for _, e := range index {
		data, err := chart.Files.ReadFile("definitions/" + e.file)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		gvr := schema.GroupVersionResource{Group: e.group, Version: e.stored, Resource: e.plural}
		definitions = append(definitions, Definition{Resource: gvr, Served: e.served, YAML: data})
	}
	return definitions, nil
}
