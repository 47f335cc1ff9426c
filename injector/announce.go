package injector

import (
	"errors"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// Names of the injector's two webhook configurations. The installation writes the first, and the injector the second,
// so applying the installation's manifests again changes nothing. The API server calls configurations in the order of
// their names, and this order matters: see optedInConfiguration.
const (
	configurationName = mesh.WebhookConfiguration
	optedInName       = configurationName + "-opted-in"

	baseWebhook    = "proxy-injector.tulle.dev"
	optedInWebhook = "opted-in.proxy-injector.tulle.dev"
)

// configuration shortens the name of the API's type.
type configuration = admissionregistrationv1.MutatingWebhookConfiguration

// announcement is the variable part of the webhook configurations.
type announcement struct {
	bundle  []byte   // authorities, PEM
	optedIn []string // namespaces whose pods must not start without a proxy
	policy  inject.FailurePolicy
}

// withBundle returns a copy of the installation's configuration with the authorities, otherwise unchanged.
func (a announcement) withBundle(current *configuration) *configuration {
	next := current.DeepCopy()
	for i := range next.Webhooks {
		next.Webhooks[i].ClientConfig.CABundle = a.bundle
	}
	return next
}

// optedInConfiguration returns the webhook of the namespaces that opted in, made from the installation's base webhook;
// base is the result of withBundle. The base webhook covers every namespace and fails open. This one fails closed; it
// is called after the base webhook, for pods that want a proxy and still have none. It lists namespaces by the
// immutable label with their name, because they opt in by an annotation, which no selector can match.
func (a announcement) optedInConfiguration(base *configuration) (*configuration, error) {
	next := &configuration{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(),
			Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{
			Name: optedInName, Labels: base.Labels, Annotations: map[string]string{mesh.CreatedByAnnotation: mesh.InjectorName},
		},
	}
	i := slices.IndexFunc(base.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool {
		return w.Name == baseWebhook
	})
	if i < 0 {
		return nil, errors.New("it has no webhook " + baseWebhook + ": install Tulle again")
	}
	if a.policy == inject.FailOpen || len(a.optedIn) == 0 {
		return next, nil
	}
	w := base.Webhooks[i].DeepCopy()
	w.Name = optedInWebhook
	fail := admissionregistrationv1.Fail
	w.FailurePolicy = &fail
	for i := range w.Rules {
		w.Rules[i].Resources = []string{"pods"} // creating a Service must not wait for an injector
	}
	if w.NamespaceSelector == nil {
		w.NamespaceSelector = &metav1.LabelSelector{}
	}
	names := slices.Clone(a.optedIn)
	slices.Sort(names)
	w.NamespaceSelector.MatchExpressions = append(w.NamespaceSelector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: names,
	})
	w.MatchConditions = matchConditions()
	next.Webhooks = []admissionregistrationv1.MutatingWebhook{*w}
	return next, nil
}

// matchConditions let pods pass that inject.Decide skips in a namespace that opted in.
func matchConditions() []admissionregistrationv1.MatchCondition {
	const annotations = "object.metadata.annotations"
	const present = "has(" + annotations + ") && '" + mesh.InjectAnnotation + "' in " + annotations
	const proxy = "(c, c.name == '" + mesh.ProxyContainer + "')"
	return []admissionregistrationv1.MatchCondition{
		{Name: "wants-proxy", Expression: "!(" + present + ") || " +
			annotations + "['" + mesh.InjectAnnotation + "'] in ['enabled', 'ingress']"},
		{Name: "can-have-proxy", Expression: "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)"},
		{Name: "has-no-proxy", Expression: "!(has(object.spec.initContainers) && object.spec.initContainers.exists" + proxy +
			")" +
			" && !object.spec.containers.exists" + proxy},
	}
}
