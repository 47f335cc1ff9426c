package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Options say which rotation goes on, and how.
type Options struct {
	// Namespace is the control plane's.
	Namespace string
	Given     Given
	// DryRun and Status change nothing: the one prints the next step, the other where the rotation stands.
	DryRun, Status bool
	// Skip are pods, namespace/name, that are not waited for.
	Skip []string
	// Poll is how often the cluster is looked at again; 0 is a few seconds.
	Poll time.Duration
	Out  io.Writer
	// Now is the clock; nil is this machine's.
	Now func() time.Time
}

const (
	defaultPoll = 3 * time.Second
	fieldOwner  = "tulle-identity-rotate"
)

// rotation is one run of the command.
type rotation struct {
	Options
	cl     *cluster.Client
	census *census
	logged string
}

// Run goes on with the cluster's rotation, or begins one, until it is done. When ctx ends, the rotation stays where it
// is, and the next Run goes on.
func Run(ctx context.Context, cl *cluster.Client, opts Options) error {
	r := &rotation{Options: opts, cl: cl, census: &census{cl: cl, control: opts.Namespace, skip: opts.Skip}}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Poll == 0 {
		r.Poll = defaultPoll
	}
	if opts.Status {
		return r.status(ctx)
	}
	for {
		done, wait, err := r.advance(ctx)
		switch {
		case done && err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted; the rotation stays where it is, and the same command goes on (%w)", ctx.Err())
		case err != nil:
			return err
		case !wait:
			continue
		}
		timer := time.NewTimer(r.Poll)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// advance does one step.
func (r *rotation) advance(ctx context.Context) (done, wait bool, err error) {
	o, err := r.look(ctx)
	if err != nil {
		return false, false, err
	}
	var asked error
	s, err := next(o, r.Given, r.Now(), func(g gate) bool {
		if asked = r.census.ask(ctx, g); asked != nil {
			return false
		}
		return len(r.census.pending) == 0
	})
	if err = errors.Join(err, asked); err != nil {
		return false, false, err
	}
	if r.DryRun {
		return true, false, r.explain(o, s)
	}
	if s.waits {
		r.progress(s)
		return false, true, nil
	}
	r.say("%s: %s", s.phase, s.text)
	return s.done, false, r.do(ctx, o, s)
}

// do makes the change of a step. A conflict means that somebody else changed the object since: the next look sees it.
func (r *rotation) do(ctx context.Context, o observed, s step) error {
	if s.issuer != nil {
		secret := o.secret.DeepCopy()
		secret.Data = map[string][]byte{corev1.TLSCertKey: s.issuer.CertPEM, corev1.TLSPrivateKeyKey: s.issuer.KeyPEM}
		if secret.Type != corev1.SecretTypeTLS {
			secret.Data = map[string][]byte{"crt.pem": s.issuer.CertPEM, "key.pem": s.issuer.KeyPEM}
		}
		_, err := r.cl.CoreV1().Secrets(r.Namespace).Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldOwner})
		if err != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("write Secret %s: %w", secret.Name, err)
		}
		return nil
	}
	s.patch["metadata"].(map[string]any)["resourceVersion"] = o.roots.ResourceVersion
	data, err := json.Marshal(s.patch)
	if err != nil {
		return err
	}
	_, err = r.cl.CoreV1().ConfigMaps(r.Namespace).Patch(ctx, mesh.TrustRootsConfigMap, types.MergePatchType, data,
		metav1.PatchOptions{FieldManager: fieldOwner})
	if err != nil && (!apierrors.IsConflict(err) || s.done) {
		return fmt.Errorf("write ConfigMap %s: %w", mesh.TrustRootsConfigMap, err)
	}
	return nil
}

// look reads what the next step depends on.
func (r *rotation) look(ctx context.Context) (observed, error) {
	var o observed
	config, err := installation.Config(ctx, r.cl, r.Namespace)
	if err != nil {
		return o, fmt.Errorf("read the installation: %w", err)
	}
	values, err := installation.Values(config)
	if err != nil {
		return o, err
	}
	o.externalIssuer = values.Identity.Issuer.Scheme == install.ExternalIssuer
	o.externalRoots = values.Identity.ExternalCA
	core := r.cl.CoreV1()
	if o.roots, err = core.ConfigMaps(r.Namespace).Get(ctx, mesh.TrustRootsConfigMap, metav1.GetOptions{}); err != nil {
		return o, fmt.Errorf("read the trust anchors: %w", err)
	}
	if o.anchors, err = mesh.ParseRoots([]byte(o.roots.Data[mesh.TrustRootsKey])); err != nil {
		return o, fmt.Errorf("ConfigMap %s: %w", mesh.TrustRootsConfigMap, err)
	}
	if o.secret, err = core.Secrets(r.Namespace).Get(ctx, mesh.IssuerSecret, metav1.GetOptions{}); err != nil {
		return o, fmt.Errorf("read the issuer: %w", err)
	}
	if o.issuer, err = installation.IssuerChain(o.secret); err != nil {
		return o, err
	}
	o.anchor, err = core.Secrets(r.Namespace).Get(ctx, mesh.AnchorSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		o.anchor, err = nil, nil
	}
	if err != nil {
		return o, fmt.Errorf("read the trust anchor: %w", err)
	}
	if text, ok := o.roots.Annotations[mesh.RotationAnnotation]; ok {
		o.state = &State{}
		if err := json.Unmarshal([]byte(text), o.state); err != nil {
			return o, fmt.Errorf("annotation %s of ConfigMap %s: %w", mesh.RotationAnnotation, mesh.TrustRootsConfigMap, err)
		}
	}
	return o, nil
}

func (r *rotation) say(format string, args ...any) {
	fmt.Fprintln(r.Out, table.Safe(fmt.Sprintf(format, args...)))
}

// progress prints what is waited for, when it changed.
func (r *rotation) progress(s step) {
	line := fmt.Sprintf("%s: waiting for %s", s.phase, s.text)
	if c := r.census; c.asked > 0 && len(c.pending) > 0 {
		line += fmt.Sprintf(": %d of %d have; not yet: %s", c.asked-len(c.pending), c.asked, c.notYet())
	}
	if line != r.logged {
		r.say("%s", line)
		r.logged = line
	}
}

// explain prints what would happen.
func (r *rotation) explain(o observed, s step) error {
	if o.state == nil {
		r.say("This would begin a rotation of %d trust anchors (%s):", len(o.anchors), names(o.anchors))
	} else {
		r.say("This would go on with the rotation of %s:", o.state.ID)
	}
	verb := ""
	if s.waits {
		verb = "wait for "
	}
	r.say("  %s: %s%s", s.phase, verb, s.text)
	phases := []Phase{Add, Switch, Drop}
	for _, p := range phases[slices.Index(phases, s.phase)+1:] {
		r.say("  %s: %s", p, later[p])
	}
	r.say("No pod restarts. Nothing was changed.")
	return nil
}

// later says what a phase will do.
var later = map[Phase]string{
	Switch: "when every proxy trusts the new anchor, move the issuer to it, and wait until every proxy has a new " +
		"certificate",
	Drop: "drop the old anchors from the bundle, and wait until no proxy trusts them",
}

// status prints where the rotation stands.
func (r *rotation) status(ctx context.Context) error {
	o, err := r.look(ctx)
	if err != nil {
		return err
	}
	if o.state == nil {
		r.say("There is no rotation. The bundle has %s; the issuer is %s.", names(o.anchors), nameOf(o.issuer[0]))
		return nil
	}
	var asked error
	s, err := next(o, r.Given, r.Now(), func(g gate) bool {
		asked = r.census.ask(ctx, g)
		return asked == nil && len(r.census.pending) == 0
	})
	if asked != nil {
		return asked
	}
	r.say("Rotation of %s", o.state.ID)
	texts := map[Phase]string{Add: "the new anchor joins the bundle, and every proxy trusts it",
		Switch: "the issuer moves to the new anchor, and every proxy gets a certificate of it",
		Drop:   "the old anchors leave the bundle, and no proxy trusts them"}
	reached := false
	for i, p := range []Phase{Add, Switch, Drop} {
		mark := "√"
		if reached {
			mark = " "
		}
		if p == o.state.Phase {
			mark, reached = "→", true
		}
		r.say("%s %d. %-6s  %s", mark, i+1, p, texts[p])
		if p != o.state.Phase {
			continue
		}
		if c := r.census; c.asked > 0 {
			r.say("            %d of %d proxies have acknowledged", c.asked-len(c.pending), c.asked)
			for _, name := range slices.Sorted(maps.Keys(c.pending)) {
				r.say("            not yet: %s: %s", name, c.pending[name])
			}
		}
		verb := "next: "
		if s.waits {
			verb = "waits for "
		}
		if err == nil {
			r.say("            %s%s", verb, s.text)
		}
	}
	return err
}

// notYet names the first few pods that have not acknowledged.
func (c *census) notYet() string {
	list := slices.Sorted(maps.Keys(c.pending))
	const shown = 5
	text := make([]string, 0, shown)
	for _, name := range list[:min(shown, len(list))] {
		text = append(text, name+" ("+c.pending[name]+")")
	}
	if more := len(list) - shown; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, ", ")
}
