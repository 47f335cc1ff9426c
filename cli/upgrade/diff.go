package upgrade

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Change is what an upgrade makes of one object.
type Change struct {
	installation.ObjectName
	Kind ChangeKind
	// Diff is a unified diff of the fields that the manifests have, or had; of a changed object.
	Diff string
}

// ChangeKind says how an object differs.
type ChangeKind string

// The kinds of changes.
const (
	New       ChangeKind = "new"
	Changed   ChangeKind = "changed"
	Unchanged ChangeKind = "unchanged"
	Obsolete  ChangeKind = "obsolete"
)

// Compare returns what applying the plan would change, in the order of its manifests, and then what it would leave
// behind.
func Compare(ctx context.Context, cl *cluster.Client, control string, plan *installation.Plan) ([]Change, error) {
	var changes []Change
	for _, doc := range install.Documents(slices.Concat(plan.Definitions, []byte("\n"), plan.ControlPlane)) {
		c, err := compare(ctx, cl, doc)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	obsolete, err := installation.Obsolete(ctx, cl, control, plan.ControlPlane)
	if err != nil {
		return nil, err
	}
	for _, o := range obsolete {
		changes = append(changes, Change{ObjectName: o, Kind: Obsolete})
	}
	return changes, nil
}

func compare(ctx context.Context, cl *cluster.Client, doc string) (Change, error) {
	var name installation.ObjectName
	var wanted map[string]any
	if err := yaml.Unmarshal([]byte(doc), &name); err != nil {
		return Change{}, fmt.Errorf("decode manifest: %w", err)
	}
	if err := yaml.Unmarshal([]byte(doc), &wanted); err != nil {
		return Change{}, fmt.Errorf("decode manifest: %w", err)
	}
	change := Change{ObjectName: name}
	gvk := schema.FromAPIVersionAndKind(name.APIVersion, name.Kind)
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	live, err := cl.Dynamic.Resource(resource).Namespace(name.Metadata.Namespace).Get(ctx, name.Metadata.Name,
		metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		change.Kind = New
		return change, nil
	case err != nil:
		return Change{}, fmt.Errorf("read %s %s: %w", name.Kind, name.Metadata.Name, err)
	}
	before := project(live.Object, shapeOf(live.GetAnnotations()[lastApplied], wanted))
	before, after := normalize("", before), normalize("", wanted)
	if gvk.Kind == "Secret" {
		hideData(before, after)
	}
	change.Kind = Unchanged
	change.Diff, err = unified(before, after)
	if change.Diff != "" {
		change.Kind = Changed
	}
	return change, err
}

// unified returns the difference of two trees as YAML; "" if they are equal.
func unified(before, after any) (string, error) {
	a, err := yaml.Marshal(before)
	if err != nil {
		return "", fmt.Errorf("encode an object of the cluster: %w", err)
	}
	b, err := yaml.Marshal(after)
	if err != nil {
		return "", fmt.Errorf("encode a manifest: %w", err)
	}
	if bytes.Equal(a, b) {
		return "", nil
	}
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(a), B: lines(b),
		FromFile: "in the cluster", ToFile: "after the upgrade", Context: 3,
	})
}

// lines returns the lines of a text with their ends.
func lines(text []byte) []string {
	all := strings.SplitAfter(string(text), "\n")
	return all[:len(all)-1]
}

// WriteChanges writes one line for each object, under it what changes, and at the end how many there are of each kind.
func WriteChanges(w io.Writer, changes []Change) error {
	var out bytes.Buffer
	counts := map[ChangeKind]int{}
	for _, c := range changes {
		counts[c.Kind]++
		name := c.ObjectName.Kind + "/" + c.Metadata.Name
		if c.Metadata.Namespace != "" {
			name += " in namespace " + c.Metadata.Namespace
		}
		fmt.Fprintf(&out, "%-9s %s\n", c.Kind, table.Safe(name))
		if c.Diff != "" {
			out.WriteString(table.SafeLines(c.Diff))
		}
	}
	var sum []string
	for _, k := range []ChangeKind{New, Changed, Unchanged, Obsolete} {
		sum = append(sum, fmt.Sprintf("%d %s", counts[k], k))
	}
	fmt.Fprintf(&out, "\n%s\n", strings.Join(sum, ", "))
	_, err := w.Write(out.Bytes())
	return err
}
