package injector

import (
	"errors"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// Names of the webhooks in the configuration. The installation writes all but optedInWebhook.
const (
	configurationName = "tulle-proxy-injector-webhook-config"
	baseWebhook       = "proxy-injector.tulle.dev"
	optedInWebhook    = "opted-in.proxy-injector.tulle.dev"
)

// announcement is what the webhook configuration has to say.
type announcement struct {
	bundle  []byte   // authorities, PEM
	optedIn []string // namespaces whose pods must not start without a proxy
	policy  inject.FailurePolicy
}

// apply returns a copy of the configuration that says it.
//
// The base webhook covers every namespace and lets pods pass while no injector answers. The namespaces that opted in get a webhook
// of their own that does not. They are listed by the immutable name label, because what they opt in with is an annotation, which no
// selector can see. Whatever else stands in the configuration stays.
func (a announcement) apply(current *admissionregistrationv1.MutatingWebhookConfiguration) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	next := current.DeepCopy()
	next.Webhooks = slices.DeleteFunc(next.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool { return w.Name == optedInWebhook })
	i := slices.IndexFunc(next.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool { return w.Name == baseWebhook })
	if i < 0 {
		return nil, errors.New("it has no webhook " + baseWebhook + ": install Tulle again")
	}
	if a.policy != inject.FailOpen && len(a.optedIn) > 0 {
		next.Webhooks = append(next.Webhooks, a.optedInWebhook(next.Webhooks[i].DeepCopy()))
	}
	for i := range next.Webhooks {
		next.Webhooks[i].ClientConfig.CABundle = a.bundle
	}
	return next, nil
}

// optedInWebhook is the base webhook, narrowed to pods of the opted-in namespaces that want a proxy and have none: it comes after
// the base webhook, so it is called only when that one did not answer.
func (a announcement) optedInWebhook(base *admissionregistrationv1.MutatingWebhook) admissionregistrationv1.MutatingWebhook {
	w := *base
	w.Name = optedInWebhook
	fail := admissionregistrationv1.Fail
	w.FailurePolicy = &fail
	for i := range w.Rules {
		w.Rules[i].Resources = []string{"pods"}
	}
	selector := &metav1.LabelSelector{}
	if w.NamespaceSelector != nil {
		selector = w.NamespaceSelector
	}
	names := slices.Clone(a.optedIn)
	slices.Sort(names)
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: names,
	})
	w.NamespaceSelector = selector
	w.MatchConditions = matchConditions()
	return w
}

// matchConditions let pods pass that inject.Decide skips in a namespace that opted in.
func matchConditions() []admissionregistrationv1.MatchCondition {
	const annotations = "object.metadata.annotations"
	const present = "has(" + annotations + ") && '" + mesh.InjectAnnotation + "' in " + annotations
	const proxy = "(c, c.name == '" + mesh.ProxyContainer + "')"
	return []admissionregistrationv1.MatchCondition{
		{Name: "wants-proxy", Expression: "!(" + present + ") || " + annotations + "['" + mesh.InjectAnnotation + "'] in ['enabled', 'ingress']"},
		{Name: "can-have-proxy", Expression: "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)"},
		{Name: "has-no-proxy", Expression: "!(has(object.spec.initContainers) && object.spec.initContainers.exists" + proxy + ")" +
			" && !object.spec.containers.exists" + proxy},
	}
}
