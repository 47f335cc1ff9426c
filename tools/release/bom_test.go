package main

import (
	"debug/buildinfo"
	"encoding/json"
	"runtime/debug"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

func TestModulesOfAProgram(t *testing.T) {
	got := moduleComponents(program{info: &buildinfo.BuildInfo{
		GoVersion: "go1.26.8",
		Deps: []*debug.Module{
			{Path: "example.test/a", Version: "v1.0.0", Sum: "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
			{Path: "example.test/b", Version: "v1.0.0", Replace: &debug.Module{
				Path: "example.test/c", Version: "v2.0.0+incompatible",
			}},
		},
	}})
	want := []cdx.Component{
		{
			BOMRef: "pkg:golang/example.test/a@v1.0.0", Type: "library", Name: "example.test/a", Version: "v1.0.0",
			PackageURL: "pkg:golang/example.test/a@v1.0.0", Hashes: &[]cdx.Hash{{
				Algorithm: "SHA-256", Value: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			}},
		},
		{
			BOMRef: "pkg:golang/example.test/c@v2.0.0+incompatible", Type: "library", Name: "example.test/c",
			Version: "v2.0.0+incompatible", PackageURL: "pkg:golang/example.test/c@v2.0.0+incompatible",
		},
		{
			BOMRef: "pkg:golang/std@1.26.8", Type: "library", Name: "std", Version: "1.26.8",
			PackageURL: "pkg:golang/std@1.26.8",
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("components (-want +got):\n%s", d)
	}
}

// CycloneDX wants each reference to name one component.
func TestBillOfMaterialsNamesEveryProgram(t *testing.T) {
	files := contents(t, made(t, of(checkout(t), platform{"linux", "amd64"}, platform{"linux", "arm64"})))
	var bom cdx.BOM
	if err := json.Unmarshal([]byte(files["tulle-v0.1.0.cdx.json"]), &bom); err != nil {
		t.Fatal(err)
	}
	defined, programs := map[string]bool{bom.Metadata.Component.BOMRef: true}, 0
	for _, c := range *bom.Components {
		if defined[c.BOMRef] {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		defined[c.BOMRef] = true
		if c.Type == cdx.ComponentTypeApplication {
			programs++
			if c.Hashes == nil {
				t.Errorf("%s has no digest", c.BOMRef)
			}
		}
	}
	if programs != 6 {
		t.Errorf("programs: got %d, want 3 for 2 architectures", programs)
	}
	for _, d := range *bom.Dependencies {
		for _, ref := range append([]string{d.Ref}, *d.Dependencies...) {
			if !defined[ref] {
				t.Errorf("%s is not a component", ref)
			}
		}
	}
	if got, want := bom.Metadata.Component.Version, "v0.1.0"; got != want {
		t.Errorf("version: got %q, want %q", got, want)
	}
}
