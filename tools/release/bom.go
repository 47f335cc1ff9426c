package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// bom writes the software bill of materials: each program with its digest, and the modules that the linker wrote into
// it. These are what the program has, where go.mod lists what it could have.
func (r *release) bom(context.Context) error {
	self := cdx.Component{
		BOMRef: "tulle@" + r.version, Type: cdx.ComponentTypeApplication, Name: "tulle", Version: r.version,
		Licenses:           &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		ExternalReferences: &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://github.com/tulle-mesh/tulle"}},
		Properties:         &[]cdx.Property{{Name: "tulle:commit", Value: r.commit}},
	}
	libraries, programs := map[string]cdx.Component{}, []cdx.Component{}
	dependencies := []cdx.Dependency{}
	var refs []string
	for _, p := range r.built {
		component, err := programComponent(p)
		if err != nil {
			return err
		}
		programs, refs = append(programs, component), append(refs, component.BOMRef)
		var needs []string
		for _, library := range moduleComponents(p) {
			libraries[library.BOMRef] = library
			needs = append(needs, library.BOMRef)
		}
		dependencies = append(dependencies, cdx.Dependency{Ref: component.BOMRef, Dependencies: &needs})
	}
	for _, ref := range slices.Sorted(maps.Keys(libraries)) {
		programs = append(programs, libraries[ref])
	}
	out := cdx.NewBOM()
	// The serial number has to be the same for the same release, so it is made of the version and the commit.
	out.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL,
		[]byte("https://github.com/tulle-mesh/tulle/releases/"+r.version+"#"+r.commit)).URN()
	out.Metadata = &cdx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &self}
	out.Components = &programs
	dependencies = append([]cdx.Dependency{{Ref: self.BOMRef, Dependencies: &refs}}, dependencies...)
	out.Dependencies = &dependencies
	return r.write("tulle-"+r.version+".cdx.json", func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(out, cdx.SpecVersion1_6)
	})
}

func programComponent(p program) (cdx.Component, error) {
	sum, err := digest(p.file)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("digest %s: %w", p.file, err)
	}
	properties := []cdx.Property{
		{Name: "tulle:platform", Value: p.platform.String()}, {Name: "tulle:go", Value: p.info.GoVersion},
	}
	return cdx.Component{
		BOMRef: p.name + "@" + p.platform.String(), Type: cdx.ComponentTypeApplication, Name: p.name,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}}, Properties: &properties,
	}, nil
}

// moduleComponents returns Go's standard library and the modules of a program, sorted.
func moduleComponents(p program) []cdx.Component {
	components := []cdx.Component{module("std", strings.TrimPrefix(p.info.GoVersion, "go"), "")}
	for _, m := range p.info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		components = append(components, module(m.Path, m.Version, m.Sum))
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	return components
}

// module returns the component of a module. Its digest is that of go.sum (golang.org/x/mod/sumdb/dirhash, Hash1):
// SHA-256 over the module's list of files, in hexadecimal digits.
func module(path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + url.PathEscape(version)
	c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	if h1, ok := strings.CutPrefix(sum, "h1:"); ok {
		if raw, err := base64.StdEncoding.DecodeString(h1); err == nil {
			c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
		}
	}
	return c
}
