// Package crds owns the CustomResourceDefinitions of the mesh: crds/v1alpha1 has the Go shape of the kinds. It must not import a
// client: it says what a cluster should have, and others look at what it has.
package crds

//go:generate sh -c "cd .. && go tool -modfile=tools/go.mod controller-gen object paths=./crds/v1alpha1"
