// Package crds owns the CustomResourceDefinitions of the mesh: crds/v1alpha1 has the Go shape of the kinds. It must not import a
// client: it says what a cluster should have, and others look at what it has.
package crds

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

//go:generate sh -c "cd .. && go tool -modfile=tools/go.mod controller-gen object paths=./crds/v1alpha1 && go run -C tools ./crds"

//go:embed *.yaml gateway/*.yaml
var files embed.FS

// Own returns the definitions of the mesh's own kinds, each a YAML document, in the order of group and plural.
func Own() ([][]byte, error) { return read(".") }

// Gateway returns the definitions of those kinds of the Gateway API that the mesh reads, as its standard channel has them but for
// descriptions.
func Gateway() ([][]byte, error) { return read("gateway") }

func read(dir string) ([][]byte, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var documents [][]byte
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		documents = append(documents, data)
	}
	return documents, nil
}
