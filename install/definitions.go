package install

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds"
)

// The annotations that distinguish definitions.
const (
	createdBy      = "linkerd.io/created-by"
	createdPrefix  = "tulle/cli "
	resourcePolicy = "helm.sh/resource-policy"
	bundleVersion  = "gateway.networking.k8s.io/bundle-version"
	gatewayGroup   = "gateway.networking.k8s.io"
)

// Definition is a CustomResourceDefinition of an installation.
type Definition struct {
	crds.Definition
	// Manifest is the definition to apply, with the installation's mark.
	Manifest []byte

	annotations map[string]string
}

// Name returns the name of the definition, such as servers.policy.linkerd.io.
func (d *Definition) Name() string { return d.Resource.GroupResource().String() }

// Gateway reports whether the definition is the Gateway API's, and not of a kind of the mesh.
func (d *Definition) Gateway() bool { return d.Resource.Group == gatewayGroup }

// Definitions returns all definitions: those of the mesh's own kinds, then those of the Gateway API.
func Definitions(t Target) ([]Definition, error) {
	t, err := t.WithDefaults()
	if err != nil {
		return nil, err
	}
	own, err := crds.Own()
	if err != nil {
		return nil, err
	}
	gateway, err := crds.Gateway()
	if err != nil {
		return nil, err
	}
	var out []Definition
	for _, def := range append(own, gateway...) {
		d, err := t.mark(def)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// mark adds the labels and annotations by which an installation recognizes its own definitions, and by which Helm never
// deletes them. The chart's template tulle.definition does the same.
func (t Target) mark(def crds.Definition) (Definition, error) {
	head, spec, ok := bytes.Cut(def.YAML, []byte("\nspec:\n"))
	if !ok {
		return Definition{}, fmt.Errorf("definition of %s has no spec", def.Resource)
	}
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Annotations map[string]string `json:"annotations"`
			Labels      map[string]string `json:"labels"`
			Name        string            `json:"name"`
		} `json:"metadata"`
	}
	if err := yaml.UnmarshalStrict(head, &meta); err != nil {
		return Definition{}, fmt.Errorf("decode definition: %w", err)
	}
	m := &meta.Metadata
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[createdBy] = createdPrefix + t.Version
	m.Annotations[resourcePolicy] = "keep"
	m.Labels = map[string]string{"linkerd.io/control-plane-ns": t.Namespace}
	text, err := yaml.Marshal(meta)
	if err != nil {
		return Definition{}, fmt.Errorf("encode definition %s: %w", m.Name, err)
	}
	return Definition{def, append(append(text, "spec:\n"...), spec...), m.Annotations}, nil
}

// Missing returns the definitions that must be applied to a cluster. existing has the annotations of the cluster's
// definitions by name; it is empty for a new cluster. A definition of a newer release stays. If another tool installed
// the Gateway API, all of it stays, because its definitions belong together. The notes name what stays and why.
func Missing(all []Definition, existing map[string]map[string]string) (missing []Definition, notes []string) {
	foreign, isForeign := foreignGateway(existing)
	if isForeign && slices.ContainsFunc(all, func(d Definition) bool { return d.Gateway() }) {
		notes = append(notes, fmt.Sprintf("the cluster has a Gateway API of its own (%s), which stays as it is", foreign))
	}
	for _, d := range all {
		annotations := existing[d.Name()]
		key, prefix := createdBy, createdPrefix
		if d.Gateway() {
			if isForeign {
				continue
			}
			key, prefix = bundleVersion, ""
		}
		have, ok := strings.CutPrefix(annotations[key], prefix)
		if ok && newer(have, strings.TrimPrefix(d.annotations[key], prefix)) {
			notes = append(notes, fmt.Sprintf("%s is of a newer release (%s), and stays as it is", d.Name(), have))
			continue
		}
		missing = append(missing, d)
	}
	return missing, notes
}

// foreignGateway returns the version of a Gateway API that another tool installed.
func foreignGateway(existing map[string]map[string]string) (bundle string, ok bool) {
	for name, annotations := range existing {
		if !strings.HasSuffix(name, "."+gatewayGroup) || strings.HasPrefix(annotations[createdBy], createdPrefix) {
			continue
		}
		// Versions may differ after a partial update. The greatest text makes the result deterministic.
		bundle, ok = max(bundle, annotations[bundleVersion]), true
	}
	if ok && bundle == "" {
		bundle = "of an unknown version"
	}
	return bundle, ok
}

// newer reports whether a is a later release than b. It is false if one of them is not a release.
func newer(a, b string) bool {
	va, err := version.ParseSemantic(a)
	if err != nil {
		return false
	}
	vb, err := version.ParseSemantic(b)
	return err == nil && vb.WithPreRelease("").LessThan(va.WithPreRelease(""))
}

// RenderCRDs returns definitions as a YAML stream.
func RenderCRDs(definitions []Definition) []byte {
	var out bytes.Buffer
	for _, d := range definitions {
		out.WriteString("---\n")
		out.Write(d.Manifest)
	}
	return out.Bytes()
}
