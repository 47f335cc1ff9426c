package profile

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// Service is the Service that a profile is for.
type Service struct{ Name, Namespace, ClusterDomain string }

// Check refuses names that no Service has.
func (s Service) Check() error {
	if strings.ContainsAny(s.Name, "./:") {
		return fmt.Errorf("service %q: give the name alone, and its namespace with -n", s.Name)
	}
	for _, part := range []struct{ what, name string }{{"service", s.Name}, {"namespace", s.Namespace}} {
		if problems := validation.IsDNS1123Label(part.name); problems != nil {
			return fmt.Errorf("%s %q: %s", part.what, part.name, strings.Join(problems, "; "))
		}
	}
	return nil
}

// fqdn returns the profile's name: that of the Service as clients resolve it.
func (s Service) fqdn() string {
	return fmt.Sprintf("%s.%s.svc.%s", s.Name, s.Namespace, s.ClusterDomain)
}

// Object returns the ServiceProfile with the routes.
func (s Service) Object(routes []v1alpha1.RouteSpec) map[string]any {
	return map[string]any{
		"apiVersion": "linkerd.io/v1alpha2", "kind": "ServiceProfile",
		"metadata": map[string]any{"name": s.fqdn(), "namespace": s.Namespace},
		"spec":     map[string]any{"routes": routes},
	}
}
