package manifests

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestNamesAndPortsAreThoseOfTheMesh compares what the chart spells out with the constants that the programs use.
func TestNamesAndPortsAreThoseOfTheMesh(t *testing.T) {
	objects := decodeStrict(t, render(t, build(t, variants["default"])))
	for _, want := range []struct {
		name                 string
		port, admin, service int
	}{
		{mesh.IdentityName, mesh.IdentityPort, mesh.IdentityAdminPort, mesh.IdentityPort},
		{mesh.DestinationName, mesh.DestinationPort, mesh.DestinationAdminPort, mesh.DestinationPort},
		{mesh.InjectorName, mesh.InjectorPort, mesh.InjectorAdminPort, 443},
	} {
		found := 0
		for _, obj := range objects {
			switch o := obj.(type) {
			case *appsv1.Deployment:
				if o.Name != want.name {
					continue
				}
				found++
				c := o.Spec.Template.Spec.Containers[0]
				for _, arg := range []string{fmt.Sprintf("--addr=:%d", want.port), fmt.Sprintf("--admin-addr=:%d", want.admin)} {
					if !slices.Contains(c.Args, arg) {
						t.Errorf("%s: arguments %q, want %s", o.Name, c.Args, arg)
					}
				}
				if c.Ports[0].ContainerPort != int32(want.port) || c.Ports[1].ContainerPort != int32(want.admin) {
					t.Errorf("%s: ports %v, want %d and %d", o.Name, c.Ports, want.port, want.admin)
				}
			case *corev1.Service:
				if o.Name == want.name && o.Spec.Ports[0].Port == int32(want.service) {
					found++
				}
			}
		}
		if found != 2 {
			t.Errorf("%s: want a Deployment, and a Service with port %d", want.name, want.service)
		}
	}
	identity := fmt.Sprintf("--identity-addr=%s.%s.svc.%s.:%d", mesh.IdentityName, mesh.ControlPlaneNamespace,
		mesh.DefaultClusterDomain, mesh.IdentityPort)
	roots := "--trust-roots-file=/var/run/tulle/trust-roots/" + mesh.TrustRootsKey
	for _, d := range deployments(objects) {
		if args := d.Spec.Template.Spec.Containers[0].Args; d.Name == mesh.DestinationName &&
			(!slices.Contains(args, identity) || !slices.Contains(args, roots)) {
			t.Errorf("%s: arguments %q, want %s and %s", d.Name, args, identity, roots)
		}
	}
}
