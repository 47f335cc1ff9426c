package compile

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// Server is the spec of a Server: the pods and the port that it selects, and the policy for clients that no
// authorization admits.
type Server struct {
	Selector labels.Selector // of pods; nil selects none
	Port     uint16          // 0 if PortName names it
	PortName string
	Protocol mesh.Protocol
	Policy   mesh.AccessPolicy
}

func ServerRef(n types.NamespacedName) mesh.Ref {
	return mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: "Server", Namespace: n.Namespace, Name: n.Name}
}

func ParseServer(o *v1alpha1.Server) (spec Server, f Findings) {
	switch {
	case o.Spec.PodSelector != nil:
		spec.Selector = parseSelector(o.Spec.PodSelector, "spec.podSelector", &f)
	case o.Spec.ExternalWorkloadSelector == nil:
		f.invalid("spec.podSelector", "is missing")
	}
	if o.Spec.ExternalWorkloadSelector != nil {
		f.ignored("spec.externalWorkloadSelector", "workloads outside the cluster are not part of the mesh")
	}
	switch p := o.Spec.Port; {
	case p.Type == intstr.String && p.StrVal != "":
		spec.PortName = p.StrVal
	case p.Type == intstr.Int && p.IntVal > 0 && p.IntVal <= 65535:
		spec.Port = uint16(p.IntVal)
	default:
		f.invalid("spec.port", fmt.Sprintf("%q: want a number from 1 to 65535, or the name of a container's port",
			p.String()))
	}
	var ok bool
	if spec.Protocol, ok = serverProtocol(o.Spec.ProxyProtocol); !ok {
		f.invalid("spec.proxyProtocol", fmt.Sprintf("%q: want one of unknown, HTTP/1, HTTP/2, gRPC, opaque, TLS",
			o.Spec.ProxyProtocol))
	}
	spec.Policy = mesh.Deny
	if o.Spec.AccessPolicy != "" {
		policy, err := mesh.ParseAccessPolicy(o.Spec.AccessPolicy)
		if err != nil {
			f.invalid("spec.accessPolicy", err)
		}
		spec.Policy = policy
	}
	return spec, f
}

func parseSelector(s *metav1.LabelSelector, path string, f *Findings) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		f.invalid(path, err)
	}
	return selector
}

// serverProtocol reads a proxyProtocol. TLS is the application's own: its bytes are carried as they are.
func serverProtocol(s string) (mesh.Protocol, bool) {
	switch s {
	case "", v1alpha1.ProtocolUnknown:
		return mesh.Detect, true
	case v1alpha1.ProtocolHTTP1:
		return mesh.HTTP1, true
	case v1alpha1.ProtocolHTTP2, v1alpha1.ProtocolGRPC:
		return mesh.HTTP2, true
	case v1alpha1.ProtocolOpaque, v1alpha1.ProtocolTLS:
		return mesh.Opaque, true
	}
	return mesh.Detect, false
}
