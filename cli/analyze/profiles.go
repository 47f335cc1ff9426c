package analyze

import (
	"strings"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// checkProfiles looks at where ServiceProfiles are and at what they can do.
func checkProfiles(w *World) {
	w.each("ServiceProfile", func(o *object) {
		service, namespace, ok := profileService(o.name.name)
		if ok && o.namespace != namespace && !w.missing("Service", namespace, service) {
			w.report(Warning, "ProfileNamespace", o,
				"applies to clients of namespace %s only; in namespace %s, the Service's, it would apply to all",
				o.namespace, namespace)
		}
		checkPaths(w, o, spec[v1alpha1.ServiceProfileSpec](o))
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

// checkPaths names routes whose expression leaves out the path that they are named after.
func checkPaths(w *World, o *object, profile v1alpha1.ServiceProfileSpec) {
	for _, r := range profile.Routes {
		if _, path, ok := strings.Cut(r.Name, " "); ok && r.Condition != nil && r.Condition.PathRegex == path+"/.*" {
			w.report(Info, "PathOfRoute", o, "route %q: %s does not match %s itself; %s(/.*)? matches both", r.Name,
				r.Condition.PathRegex, path, path)
		}
	}
}
