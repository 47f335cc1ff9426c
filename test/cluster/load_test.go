package main

import (
	"path/filepath"
	"testing"

	"github.com/tulle-mesh/tulle/tools/pack"
)

func TestReadArchiveNamesTheImage(t *testing.T) {
	img, err := pack.Build(pack.Spec{Files: map[string]string{"/test": "load_test.go"}, Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := pack.WriteFile(file, "docker.io/tulle-mesh/shop:dev", img); err != nil {
		t.Fatal(err)
	}
	got, err := readArchive(file)
	if want := (archived{"docker.io/tulle-mesh/shop:dev", digest.String()}); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestReadArchiveRefusesWhatIsNoArchive(t *testing.T) {
	if got, err := readArchive("load_test.go"); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
	if got, err := readArchive("/does/not/exist"); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}
