package check

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// askWebhookRules finds edits that let pods bypass the injector: fields of the webhooks that decide which pods are sent
// to it and what happens if it does not answer, and that differ from what install writes for the same values.
func askWebhookRules(f *facts) error {
	if err := errors.Join(f.webhook.err, f.rendered.err); err != nil {
		return err
	}
	var errs []error
	for _, want := range f.rendered.value.Webhooks {
		i := slices.IndexFunc(f.webhook.value.Webhooks,
			func(h admissionv1.MutatingWebhook) bool { return h.Name == want.Name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("webhook %s is missing", want.Name))
			continue
		}
		errs = append(errs, compareWebhooks(f.webhook.value.Webhooks[i], want))
	}
	return errors.Join(errs...)
}

// compareWebhooks names each field of got that decides about pods and is not as wanted.
func compareWebhooks(got, want admissionv1.MutatingWebhook) error {
	normalize(&got)
	normalize(&want)
	var errs []error
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"clientConfig.url", got.ClientConfig.URL, want.ClientConfig.URL},
		{"clientConfig.service", got.ClientConfig.Service, want.ClientConfig.Service},
		{"failurePolicy", got.FailurePolicy, want.FailurePolicy},
		{"matchPolicy", got.MatchPolicy, want.MatchPolicy},
		{"namespaceSelector", got.NamespaceSelector, want.NamespaceSelector},
		{"objectSelector", got.ObjectSelector, want.ObjectSelector},
		{"matchConditions", got.MatchConditions, want.MatchConditions},
		{"rules", got.Rules, want.Rules},
	} {
		is, wanted := fieldText(field.got), fieldText(field.want)
		if is != wanted {
			errs = append(errs, fmt.Errorf("webhook %s: %s is %s, but install writes %s", got.Name, field.name,
				shorten(is), shorten(wanted)))
		}
	}
	return errors.Join(errs...)
}

// normalize fills in the API server's defaults and sorts what has no order, in a copy of what h points to. Source:
// Kubernetes API reference, MutatingWebhook.
func normalize(h *admissionv1.MutatingWebhook) {
	*h = *h.DeepCopy()
	h.FailurePolicy = cmp.Or(h.FailurePolicy, new(admissionv1.Fail))
	h.MatchPolicy = cmp.Or(h.MatchPolicy, new(admissionv1.Equivalent))
	if s := h.ClientConfig.Service; s != nil {
		s.Port, s.Path = cmp.Or(s.Port, new(int32(443))), cmp.Or(s.Path, new(""))
	}
	h.NamespaceSelector, h.ObjectSelector = normalSelector(h.NamespaceSelector), normalSelector(h.ObjectSelector)
	for i := range h.Rules {
		r := &h.Rules[i]
		r.Scope = cmp.Or(r.Scope, new(admissionv1.AllScopes))
		slices.Sort(r.Operations)
		slices.Sort(r.APIGroups)
		slices.Sort(r.APIVersions)
		slices.Sort(r.Resources)
	}
	sortByText(h.Rules)
	sortByText(h.MatchConditions)
}

func normalSelector(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return &metav1.LabelSelector{}
	}
	for i := range s.MatchExpressions {
		slices.Sort(s.MatchExpressions[i].Values)
	}
	sortByText(s.MatchExpressions)
	return s
}

func sortByText[T any](list []T) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(fieldText(a), fieldText(b)) })
}

// fieldText writes a field as JSON, and an empty list as none.
func fieldText(field any) string {
	data, err := json.Marshal(field)
	if err != nil {
		return err.Error() // of no type that the API has
	}
	if text := string(data); text != "[]" && text != "null" {
		return text
	}
	return "none"
}

// shorten keeps a field on one line.
func shorten(text string) string {
	const most = 240
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
