package check

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestWebhookRules changes the webhooks as a cluster serves them, one field a case.
func TestWebhookRules(t *testing.T) {
	open := install.Defaults()
	open.WebhookFailurePolicy = inject.FailOpen
	target := install.Target{Namespace: "tulle", Version: "v1"}
	type hooks = []admissionv1.MutatingWebhook
	const required, explicit = 1, 2
	for name, test := range map[string]struct {
		values install.Values
		change func(hooks) hooks
		want   string // of the warning; "" for none
	}{
		"as installed":            {install.Defaults(), func(h hooks) hooks { return h }, ""},
		"as installed, fail open": {open, func(h hooks) hooks { return h }, ""},
		"with the API server's defaults": {install.Defaults(), func(h hooks) hooks {
			for i := range h {
				h[i].MatchPolicy, h[i].ObjectSelector = new(admissionv1.Equivalent), &metav1.LabelSelector{}
				h[i].ClientConfig.CABundle = []byte("bundle")
			}
			return h
		}, ""},
		"in another order": {install.Defaults(), func(h hooks) hooks {
			slices.Reverse(h[explicit].MatchConditions)
			slices.Reverse(h[explicit].NamespaceSelector.MatchExpressions)
			slices.Reverse(h)
			return h
		}, ""},
		"failurePolicy": {install.Defaults(), func(h hooks) hooks {
			h[required].FailurePolicy = new(admissionv1.Ignore)
			return h
		}, `webhook required.proxy-injector.tulle.dev: failurePolicy is "Ignore", but install writes "Fail"`},
		"namespaceSelector": {install.Defaults(), func(h hooks) hooks {
			h[0].NamespaceSelector.MatchLabels = map[string]string{"a": "b"}
			return h
		}, "namespaceSelector is"},
		"objectSelector": {install.Defaults(), func(h hooks) hooks {
			h[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
			return h
		}, `objectSelector is {"matchLabels":{"a":"b"}}, but install writes {}`},
		"another condition": {install.Defaults(), func(h hooks) hooks {
			h[0].MatchConditions = []admissionv1.MatchCondition{{Name: "never", Expression: "false"}}
			return h
		}, `matchConditions is [{"name":"never","expression":"false"}], but install writes none`},
		"operations": {install.Defaults(), func(h hooks) hooks {
			h[0].Rules[0].Operations = []admissionv1.OperationType{admissionv1.Update}
			return h
		}, "rules is"},
		"resources": {install.Defaults(), func(h hooks) hooks {
			h[0].Rules[0].Resources = []string{"services"}
			return h
		}, "rules is"},
		"matchPolicy": {install.Defaults(), func(h hooks) hooks {
			h[0].MatchPolicy = new(admissionv1.Exact)
			return h
		}, "matchPolicy is"},
		"another Service": {install.Defaults(), func(h hooks) hooks {
			h[0].ClientConfig.Service.Namespace = "shop"
			return h
		}, "clientConfig.service is"},
		"a URL": {install.Defaults(), func(h hooks) hooks {
			h[0].ClientConfig.Service, h[0].ClientConfig.URL = nil, new("https://example.org")
			return h
		}, "clientConfig.url is"},
		"a webhook less": {install.Defaults(), func(h hooks) hooks { return h[:explicit] },
			"webhook explicit.proxy-injector.tulle.dev is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := manifests.Render(test.values, target)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := installation.Webhook(stream)
			if err != nil || rendered.Name != mesh.WebhookConfiguration {
				t.Fatalf("error %v, webhook configuration %v", err, rendered)
			}
			served := rendered.DeepCopy()
			served.Webhooks = test.change(served.Webhooks)
			f := &facts{webhook: learn(served, nil), rendered: learn(rendered, nil)}
			switch err := askWebhookRules(f); {
			case test.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
