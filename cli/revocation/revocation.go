// Package revocation changes the list of peers that proxies refuse.
//
// It owns how the list is read from a cluster and written back. The one idea: the list is one annotation of the control
// plane's namespace, so the users who may change that namespace may revoke.
package revocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Options say how the list changes.
type Options struct {
	// Namespace is the control plane's.
	Namespace string
	// Serials are of certificates, in hexadecimal; Accounts are NAMESPACE/NAME of ServiceAccounts.
	Serials, Accounts []string
	// Undo takes the entries out of the list, List only prints it, and DryRun prints what would change.
	Undo, List, DryRun bool
	Out                io.Writer
}

// attempts bounds how often a write that met another writer's is tried again.
const attempts = 5

// Run changes the list as the options say, or prints it. Run again, it changes nothing more.
func Run(ctx context.Context, cl *cluster.Client, opts Options) error {
	wanted, err := opts.entries()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := opts.apply(ctx, cl, wanted)
		if !apierrors.IsConflict(err) || try == attempts {
			return err
		}
	}
}

// entries returns what the options name, as the annotation has it.
func (o *Options) entries() ([]string, error) {
	var text []string
	for _, s := range o.Serials {
		text = append(text, "serial:"+s)
	}
	for _, a := range o.Accounts {
		text = append(text, "serviceaccount:"+a)
	}
	wanted, errs := mesh.ParseRevoked(strings.Join(text, ","), mesh.DefaultTrustDomain)
	switch entries := wanted.Entries(); {
	case errs != nil:
		return nil, errors.Join(errs...)
	case o.List && entries != nil:
		return nil, errors.New("--list prints the whole list: name nobody")
	case !o.List && entries == nil:
		return nil, errors.New("name a certificate with --serial, or a ServiceAccount with --service-account")
	default:
		return entries, nil
	}
}

func (o *Options) apply(ctx context.Context, cl *cluster.Client, wanted []string) error {
	ns, err := cl.CoreV1().Namespaces().Get(ctx, o.Namespace, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the revoked peers: %w", err)
	}
	list, errs := mesh.ParseRevoked(ns.Annotations[mesh.RevokedAnnotation], mesh.DefaultTrustDomain)
	for _, err := range errs {
		o.say("annotation %s of namespace %s: %v; it has no effect", mesh.RevokedAnnotation, o.Namespace, err)
	}
	before := list.Entries()
	if o.List {
		if before == nil {
			o.say("nobody is revoked")
		}
		for _, entry := range before {
			o.say("%s", entry)
		}
		return nil
	}
	after := slices.DeleteFunc(slices.Clone(before), func(e string) bool { return slices.Contains(wanted, e) })
	if !o.Undo {
		after = append(after, wanted...)
	}
	slices.Sort(after)
	var changed []string
	for _, entry := range wanted {
		if slices.Contains(before, entry) != o.Undo {
			o.say("%s: %s", entry, map[bool]string{false: "is revoked already", true: "is not revoked"}[o.Undo])
			continue
		}
		changed = append(changed, entry)
	}
	switch {
	case changed == nil:
		return nil
	case len(after) > mesh.MaxRevoked:
		return fmt.Errorf("the list would have %d entries, more than %d: take out serials of certificates that ended, with "+
			"--undo", len(after), mesh.MaxRevoked)
	}
	if err := o.write(ctx, cl, ns.ResourceVersion, after); err != nil {
		return err
	}
	verb := map[bool]string{false: "revoked: its connections are cut within seconds, and new ones are refused",
		true: "trusted again"}[o.Undo]
	if o.DryRun {
		verb = "would be " + verb
	}
	for _, entry := range changed {
		o.say("%s: %s", entry, verb)
	}
	return nil
}

// write writes the annotation, unless somebody else changed the namespace since version.
func (o *Options) write(ctx context.Context, cl *cluster.Client, version string, entries []string) error {
	if o.DryRun {
		return nil
	}
	var value any
	if len(entries) > 0 {
		value = strings.Join(entries, ",")
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version,
		"annotations": map[string]any{mesh.RevokedAnnotation: value}}})
	if err != nil {
		return err
	}
	if _, err := cl.CoreV1().Namespaces().Patch(ctx, o.Namespace, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: "tulle-identity-revoke"}); err != nil {
		return fmt.Errorf("write annotation %s of namespace %s: %w", mesh.RevokedAnnotation, o.Namespace, err)
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	fmt.Fprintln(o.Out, table.Safe(fmt.Sprintf(format, args...)))
}
