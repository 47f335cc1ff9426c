package analyze

import (
	"strings"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// checkProfiles looks at where ServiceProfiles are and at what they can do.
func checkProfiles(w *World) {
	w.each("ServiceProfile", func(o *object) {
		service, namespace, ok := profileService(o.name.name)
		switch {
		case !ok:
			w.report(Error, "ProfileName", o, "the name of a ServiceProfile is the DNS name of a Service, such as web.%s.svc.cluster.local", o.namespace)
			return
		case w.missing("Service", namespace, service):
			w.report(Error, "ServiceMissing", o, "there is no Service %s in namespace %s", service, namespace)
		case o.namespace != namespace:
			w.report(Warning, "ProfileNamespace", o, "holds for clients of namespace %s only; in namespace %s, the Service's, it would hold for all",
				o.namespace, namespace)
		}
		checkRetries(w, o, spec[v1alpha1.ServiceProfileSpec](o))
	})
}

// profileService returns the Service that a ServiceProfile's name is about.
func profileService(fqdn string) (service, namespace string, ok bool) {
	parts := strings.SplitN(fqdn, ".", 4)
	if len(parts) < 4 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

func checkRetries(w *World, o *object, profile v1alpha1.ServiceProfileSpec) {
	retryable := false
	for _, r := range profile.Routes {
		retryable = retryable || r.IsRetryable
		if r.RetryBudget != nil && !r.IsRetryable {
			w.report(Warning, "BudgetWithoutRetries", o, "route %q has a retry budget and no isRetryable: true: nothing is retried", r.Name)
		}
		if _, path, ok := strings.Cut(r.Name, " "); ok && r.Condition != nil && r.Condition.PathRegex == path+"/.*" {
			w.report(Info, "PathOfRoute", o, "route %q: %s does not match %s itself; %s(/.*)? matches both", r.Name, r.Condition.PathRegex, path, path)
		}
	}
	if profile.RetryBudget != nil && !retryable && len(profile.Routes) > 0 {
		w.report(Warning, "BudgetWithoutRetries", o, "there is a retry budget and no route with isRetryable: true: nothing is retried")
	}
}
