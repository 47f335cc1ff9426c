package v1alpha1

// The API groups of the kinds.
const (
	ProfileGroup = "linkerd.io"
	PolicyGroup  = "policy.linkerd.io"
)

// Kind is one kind of the mesh, as the API server serves it.
type Kind struct {
	Group, Name, Plural string
	// Versions are the served versions, oldest first. The last one is stored; use it to read and write.
	Versions []string
}

// Kinds returns all kinds, in the order of their plural names within a group.
func Kinds() []Kind {
	return []Kind{
		{ProfileGroup, "ServiceProfile", "serviceprofiles", []string{"v1alpha1", "v1alpha2"}},
		{PolicyGroup, "AuthorizationPolicy", "authorizationpolicies", []string{"v1alpha1"}},
		{PolicyGroup, "HTTPLocalRateLimitPolicy", "httplocalratelimitpolicies", []string{"v1alpha1"}},
		{PolicyGroup, "HTTPRoute", "httproutes", []string{"v1alpha1", "v1beta1", "v1beta2", "v1beta3"}},
		{PolicyGroup, "MeshTLSAuthentication", "meshtlsauthentications", []string{"v1alpha1"}},
		{PolicyGroup, "NetworkAuthentication", "networkauthentications", []string{"v1alpha1"}},
		{PolicyGroup, "ServerAuthorization", "serverauthorizations", []string{"v1alpha1", "v1beta1"}},
		{PolicyGroup, "Server", "servers", []string{"v1alpha1", "v1beta1", "v1beta2", "v1beta3"}},
	}
}
