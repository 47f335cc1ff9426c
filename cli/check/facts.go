package check

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authzv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"

	"github.com/tulle-mesh/tulle/cli/analyze"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/forecast"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// fact is something that the cluster was asked, or why there is no answer.
type fact[T any] struct {
	value T
	err   error
}

func learn[T any](value T, err error) fact[T] { return fact[T]{value, err} }

// facts are what checks see: one reading of the cluster.
type facts struct {
	now      time.Time
	expected string // version
	// namespace is the control plane's; scope is the namespace of the proxies that are asked about, "" for all.
	namespace string
	scope     string

	client  error
	version fact[*apiversion.Info]

	// What custom resources the cluster serves, of those that an installation defines.
	definitions []install.Definition
	served      fact[map[schema.GroupVersionResource]bool]

	// Before the installation.
	access map[string]error // what the user may not create, by resource
	leases fact[*coordinationv1.LeaseList]
	// elsewhere says that another namespace has the cluster's installation, or why that is not known.
	elsewhere error

	// The installation. Names of objects are keys.
	controlNS   fact[*corev1.Namespace]
	config      fact[*corev1.ConfigMap]
	values      fact[install.Values]
	deployments fact[*appsv1.DeploymentList]
	controlPods fact[*corev1.PodList]
	objects     fact[[]string] // of the installation that are missing, as kind/name
	webhook     fact[*admissionv1.MutatingWebhookConfiguration]
	rendered    fact[*admissionv1.MutatingWebhookConfiguration] // webhook as install writes it for the values
	injectorTLS fact[*corev1.Secret]
	issuer      fact[*corev1.Secret]
	anchor      fact[*corev1.Secret] // of the trust anchor that the identity controller made
	trustRoots  fact[*corev1.ConfigMapList]

	// The cluster.
	nodes      fact[*corev1.NodeList]
	namespaces fact[*corev1.NamespaceList]
	pods       fact[*corev1.PodList]
	services   fact[*corev1.ServiceList]
	rollouts   fact[rollouts] // of the data plane's namespaces; asked for with the proxies
	links      links          // likewise
	probes     fact[[]analyze.Finding]
	dated      fact[[]forecast.Dated] // asked for with an instant

	viz vizFacts
}

// gather reads what the options' checks ask for. It never fails: what cannot be read is a fact too. known is what
// proxies said before.
func gather(ctx context.Context, opts Options, known links) *facts {
	f := &facts{now: opts.now(), expected: opts.Version, namespace: opts.ControlNamespace, scope: opts.Namespace}
	cl, err := opts.Connect()
	if f.client = err; err != nil {
		return f
	}
	if f.version = learn(cl.Discovery().ServerVersion()); f.version.err != nil {
		return f
	}
	all := metav1.ListOptions{}
	core, own := cl.CoreV1(), f.namespace
	f.controlNS = learn(core.Namespaces().Get(ctx, own, metav1.GetOptions{}))
	f.nodes = learn(core.Nodes().List(ctx, all))
	if opts.Pre {
		f.access = deniedCreates(ctx, cl, own)
		f.elsewhere = installation.CheckElsewhere(ctx, cl, opts.Render, install.Target{Namespace: own, Version: opts.Version})
		f.leases = learn(cl.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, all))
		return f
	}
	if opts.Viz {
		f.viz = gatherViz(ctx, cl, opts, own)
		f.pods = learn(listPods(ctx, core.Pods(metav1.NamespaceAll).List))
		f.gatherTapRule(ctx, cl, opts, own)
		return f
	}
	if f.definitions, err = install.Definitions(install.Target{Namespace: own, Version: opts.Version}); err != nil {
		f.served.err = err
	} else {
		f.served = learn(servedVersions(cl, f.definitions))
	}
	if opts.CRDs {
		return f
	}
	f.config = learn(installation.Config(ctx, cl, own))
	if f.values.err = f.config.err; f.values.err == nil {
		f.values = learn(installation.Values(f.config.value))
	}
	f.deployments = learn(cl.AppsV1().Deployments(own).List(ctx, all))
	f.controlPods = learn(core.Pods(own).List(ctx, metav1.ListOptions{LabelSelector: mesh.ControlPlaneComponentLabel}))
	f.gatherRendered(ctx, cl, opts)
	f.webhook = learn(cl.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, mesh.WebhookConfiguration,
		metav1.GetOptions{}))
	f.injectorTLS = learn(core.Secrets(own).Get(ctx, mesh.InjectorSecret, metav1.GetOptions{}))
	f.issuer = learn(core.Secrets(own).Get(ctx, mesh.IssuerSecret, metav1.GetOptions{}))
	f.anchor = learn(core.Secrets(own).Get(ctx, mesh.AnchorSecret, metav1.GetOptions{}))
	f.trustRoots = learn(core.ConfigMaps(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "metadata.name=" + mesh.TrustRootsConfigMap}))
	f.namespaces = learn(core.Namespaces().List(ctx, all))
	f.pods = learn(listPods(ctx, core.Pods(metav1.NamespaceAll).List))
	f.services = learn(core.Services(metav1.NamespaceAll).List(ctx, all))
	if opts.Proxy && f.pods.err == nil {
		f.rollouts = learn(listRollouts(ctx, cl, f.scope, f.pods.value.Items))
		f.links = askLinks(ctx, cl, f, known)
		f.probes = learn(refusedProbes(ctx, cl, f))
	}
	if opts.Dated {
		f.dated = learn(datedObjects(ctx, cl, f.now))
		return f
	}
	f.viz = gatherViz(ctx, cl, opts, own)
	f.gatherTapRule(ctx, cl, opts, own)
	return f
}

// gatherRendered compares the cluster with the manifests of the installation's values.
func (f *facts) gatherRendered(ctx context.Context, cl *cluster.Client, opts Options) {
	err := f.values.err
	if opts.Render == nil {
		err = errNotAsked
	}
	var manifests []byte
	if err == nil {
		manifests, err = opts.Render(f.values.value, install.Target{Namespace: f.namespace, Version: f.expected})
	}
	if err != nil {
		f.objects.err, f.rendered.err = err, err
		return
	}
	f.objects = learn(installation.Missing(ctx, cl, manifests))
	f.rendered = learn(installation.Webhook(manifests))
}

// podPage is how many pods are asked for at once: the API server holds a whole page in memory.
const podPage = 500

// listPods reads all pods with list, page by page.
func listPods(ctx context.Context, list func(context.Context, metav1.ListOptions) (*corev1.PodList, error)) (
	*corev1.PodList, error) {
	all := &corev1.PodList{}
	options := metav1.ListOptions{Limit: podPage}
	for {
		page, err := list(ctx, options)
		if err != nil {
			return nil, err
		}
		all.Items = append(all.Items, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return all, nil
		}
	}
}

// created lists what an installation creates.
var created = []struct {
	resource, group string
	namespaced      bool
}{
	{"namespaces", "", false},
	{"clusterroles", "rbac.authorization.k8s.io", false},
	{"clusterrolebindings", "rbac.authorization.k8s.io", false},
	{"customresourcedefinitions", "apiextensions.k8s.io", false},
	{"mutatingwebhookconfigurations", "admissionregistration.k8s.io", false},
	{"validatingadmissionpolicies", "admissionregistration.k8s.io", false},
	{"validatingadmissionpolicybindings", "admissionregistration.k8s.io", false},
	{"serviceaccounts", "", true},
	{"roles", "rbac.authorization.k8s.io", true},
	{"rolebindings", "rbac.authorization.k8s.io", true},
	{"services", "", true},
	{"deployments", "apps", true},
	{"configmaps", "", true},
}

// deniedCreates returns why the user may not create what an installation consists of.
func deniedCreates(ctx context.Context, cl *cluster.Client, namespace string) map[string]error {
	denied := map[string]error{}
	for _, r := range created {
		review := &authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authzv1.ResourceAttributes{Verb: "create", Group: r.group, Resource: r.resource},
		}}
		if r.namespaced {
			review.Spec.ResourceAttributes.Namespace = namespace
		}
		answer, err := cl.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		switch {
		case err != nil:
			denied[r.resource] = err
		case !answer.Status.Allowed:
			denied[r.resource] = fmt.Errorf("you may not create %s (kubectl auth can-i create %s)", r.resource, r.resource)
		}
	}
	return denied
}
