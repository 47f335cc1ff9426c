package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// injectOptions are the flags of inject.
type injectOptions struct {
	manual, ingress, ignoreCluster bool
	output                         string
	// annotations are what the other flags ask for.
	annotations map[string]string
}

func (c *cli) injectCommand() *cobra.Command {
	var opts injectOptions
	cmd := &cobra.Command{
		Use:   "inject [flags] FILE|DIR|URL|-...",
		Short: "Add the proxy to workloads in a manifest",
		Long: `inject writes the manifests again with every workload asking for a proxy: the annotation linkerd.io/inject: enabled, which the
injector acts on when the pods are created. With --manual the proxy's containers themselves are written, for clusters without the
injector. Flags become config.linkerd.io annotations. The report goes to stderr; comments of the input are lost.`,
		Example: `  kubectl get deploy -o yaml | tulle inject - | kubectl apply -f -
  tulle inject --proxy-log-level=debug shop.yaml | kubectl apply -f -
  tulle inject --manual --ignore-cluster manifests/ > meshed.yaml`,
		Args: atLeastOne("a file, a directory, a URL, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.annotations = injectAnnotations(cmd.Flags())
			return c.inject(cmd.Context(), args, opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.manual, "manual", false, "write the proxy's containers instead of the annotation")
	fs.BoolVar(&opts.ingress, "ingress", false, "write the annotation value ingress, which means enabled here; requests go to the address that the ingress chose")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false, "with --manual: take the defaults of this CLI, not those of the installation")
	fs.StringVarP(&opts.output, "output", "o", "yaml", "format: yaml or json")
	registerInjectFlags(fs)
	return cmd
}

func (c *cli) inject(ctx context.Context, args []string, opts injectOptions) error {
	t := injection{opts: opts, defaults: inject.Defaults(), namespace: c.flags.namespace}
	t.defaults.ControlPlaneNamespace, t.defaults.Version = c.flags.controlNamespace, version
	if opts.manual && !opts.ignoreCluster {
		var err error
		if t.defaults, err = c.installedDefaults(ctx); err != nil {
			return fmt.Errorf("%w (--ignore-cluster takes the defaults of this CLI instead)", err)
		}
	}
	if _, err := t.settings(nil); err != nil {
		return err
	}
	return c.transform(ctx, args, opts.output, t.object, "injected")
}

// installedDefaults returns what the installation gives to every proxy.
func (c *cli) installedDefaults(ctx context.Context) (inject.Values, error) {
	cl, err := c.connect(c.flags)
	if err != nil {
		return inject.Values{}, err
	}
	config, err := installation.Config(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return inject.Values{}, fmt.Errorf("read the installation's defaults: %w", err)
	}
	return inject.ParseValues([]byte(config.Data["values"]))
}

// injection changes the objects of a manifest.
type injection struct {
	opts      injectOptions
	defaults  inject.Values
	namespace string // of objects that name none; may be ""
}

// object adds the proxy to o, or the annotation, and reports what it did.
func (t injection) object(o *manifest.Object) (report, error) {
	r := report{object: o}
	switch o.Kind() {
	case "":
		return r, nil
	case "Namespace":
		return t.annotateNamespace(o, r)
	case "Service":
		return t.annotateService(o, r)
	}
	template, ok, err := o.Template()
	if !ok {
		return r, err
	}
	r.examine(&template.Pod)
	if r.reason == inject.SidecarExists && hasProxy(&template.Pod) {
		r.outcome, r.reason = alreadyInjected, ""
		return r, nil
	}
	if r.reason != "" {
		return r, nil
	}
	asked := maps.Clone(template.Pod.Annotations)
	if asked == nil {
		asked = map[string]string{}
	}
	maps.Copy(asked, t.opts.annotations)
	if _, err := inject.PodPorts(&template.Pod).Opaque(asked); err != nil { // the webhook would refuse every pod
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.outcome = "injected"
	if t.opts.manual {
		return t.addProxy(o, template, r)
	}
	annotations, ok := manifest.Nested(template.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	settings, err := t.settings(template.Pod.Annotations)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.warnings = settings.Warnings
	if !t.annotate(annotations) {
		r.outcome = alreadyInjected
	}
	return r, nil
}

// hasProxy reports whether the mesh's own proxy is among the containers.
func hasProxy(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return c.Name == mesh.ProxyContainer
	})
}

// mode is the value of the inject annotation.
func (t injection) mode() string {
	if t.opts.ingress {
		return "ingress"
	}
	return "enabled"
}

// annotate asks for a proxy and reports whether the annotations did not say all of it before.
func (t injection) annotate(annotations map[string]any) (changed bool) {
	set := func(key, value string) {
		changed = changed || annotations[key] != value
		annotations[key] = value
	}
	if t.opts.ingress || annotations[mesh.InjectAnnotation] != "ingress" {
		set(mesh.InjectAnnotation, t.mode())
	}
	for k, v := range t.opts.annotations {
		set(k, v)
	}
	return changed
}

// annotateNamespace asks for a proxy in every pod of the namespace.
func (t injection) annotateNamespace(o *manifest.Object, r report) (report, error) {
	annotations, ok := manifest.Nested(o.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	r.outcome = alreadyAnnotated
	if t.annotate(annotations) {
		r.outcome = "annotated"
	}
	return r, nil
}

// annotateService marks opaque ports; nothing else of a proxy's settings concerns a Service.
func (t injection) annotateService(o *manifest.Object, r report) (report, error) {
	ports, asked := t.opts.annotations[mesh.OpaquePortsAnnotation]
	if !asked {
		return r, nil
	}
	annotations, ok := manifest.Nested(o.Tree, "metadata", "annotations")
	if !ok {
		return r, o.ErrorAt("metadata.annotations", "is not an object")
	}
	var svc corev1.Service
	if data, err := json.Marshal(o.Tree["spec"]); err != nil {
		return r, fmt.Errorf("encode %s: %w", o.Name(), err)
	} else if err := json.Unmarshal(data, &svc.Spec); err != nil {
		return r, o.Mismatch("spec", err)
	}
	if _, err := inject.ServicePorts(&svc).Opaque(t.opts.annotations); err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.outcome = alreadyAnnotated
	if annotations[mesh.OpaquePortsAnnotation] != ports {
		annotations[mesh.OpaquePortsAnnotation], r.outcome = ports, "annotated"
	}
	return r, nil
}

// settings returns what holds for a pod with these annotations and the flags, which win. What the flags ask for has the rank of a
// namespace's annotation under --manual: nobody else has to allow it.
func (t injection) settings(pod map[string]string) (inject.Settings, error) {
	if t.opts.manual {
		return inject.ParseSettings(t.defaults, t.opts.annotations, withoutKeys(pod, t.opts.annotations))
	}
	merged := maps.Clone(pod)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, t.opts.annotations)
	return inject.ParseSettings(t.defaults, nil, merged)
}

func withoutKeys(m, drop map[string]string) map[string]string {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(k, _ string) bool { _, ok := drop[k]; return ok })
	return m
}

// addProxy writes what the webhook would add to the pod. The change is a patch, so that fields this build does not know stay.
func (t injection) addProxy(o *manifest.Object, tmpl manifest.Template, r report) (report, error) {
	settings, err := t.settings(tmpl.Pod.Annotations)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	ns := inject.Namespace{Name: t.namespaceOf(o), Annotations: map[string]string{mesh.InjectAnnotation: t.mode()}}
	decision := inject.Decide(ns, &tmpl.Pod)
	if decision.Verdict != inject.Inject {
		r.outcome, r.reason = "", decision.Reason
		return r, nil
	}
	owner := inject.Owner{Kind: o.Kind(), Name: o.Meta("name")}
	if owner.Kind == "Pod" {
		owner = inject.Owner{}
	}
	meshed, warnings, err := inject.Apply(&tmpl.Pod, settings, decision, ns.Name, owner)
	if err != nil {
		return r, fmt.Errorf("%s: %w", o.Name(), err)
	}
	r.warnings = append(r.warnings, slices.Concat(settings.Warnings, warnings)...)
	return r, patchTemplate(tmpl.Tree, &tmpl.Pod, meshed)
}

// namespaceOf returns the namespace that the object will be in, as far as it is known.
func (t injection) namespaceOf(o *manifest.Object) string {
	switch {
	case t.namespace != "":
		return t.namespace
	case o.Meta("namespace") != "":
		return o.Meta("namespace")
	}
	return metav1.NamespaceDefault
}

// patchTemplate applies the difference of two pods to the tree that the first was read from.
func patchTemplate(tree map[string]any, before, after *corev1.Pod) error {
	ops, err := inject.Patch(before, after)
	if err != nil || ops == nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		return fmt.Errorf("decode patch: %w", err)
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode template: %w", err)
	}
	if data, err = patch.Apply(data); err != nil {
		return fmt.Errorf("apply patch: %w", err)
	}
	var changed map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&changed); err != nil {
		return fmt.Errorf("decode template: %w", err)
	}
	clear(tree)
	maps.Copy(tree, changed)
	return nil
}
