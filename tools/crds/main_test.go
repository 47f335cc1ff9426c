package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"sigs.k8s.io/yaml"
)

// maxApplied is how much kubectl apply can keep of an object in its annotation.
const maxApplied = 256 << 10

// The API server's own validation takes every definition: the schemas are structural, the rules compile, and what they
// may cost stays within its bounds.
func TestDefinitionsAreAccepted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("../..", folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := filepath.Glob(filepath.Join("../..", folder, "gateway/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(ownKinds) || len(gateway) != len(gatewayPlurals) {
		t.Fatalf("%d and %d definitions, want %d and %d", len(files), len(gateway), len(ownKinds), len(gatewayPlurals))
	}
	for _, file := range append(files, gateway...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d := &apiextensionsv1.CustomResourceDefinition{}
			if err := yaml.UnmarshalStrict(data, d); err != nil {
				t.Fatal(err)
			}
			applied, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if len(applied) > maxApplied*3/4 {
				t.Errorf("%d bytes, want at most three quarters of the %d that kubectl apply can keep", len(applied), maxApplied)
			}
			apiextensionsv1.SetDefaults_CustomResourceDefinition(d)
			apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&d.Spec)
			internal := &apiextensions.CustomResourceDefinition{}
			if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(d, internal,
				nil); err != nil {
				t.Fatal(err)
			}
			internal.Status.StoredVersions = []string{d.Spec.Versions[len(d.Spec.Versions)-1].Name}
			for _, v := range d.Spec.Versions {
				if v.Storage {
					internal.Status.StoredVersions = []string{v.Name}
				}
			}
			for _, err := range validation.ValidateCustomResourceDefinition(context.Background(), internal) {
				t.Error(err)
			}
		})
	}
}
