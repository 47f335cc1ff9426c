package install

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/internal/spelling"
)

// linkerdOnly lists the keys of Linkerd's control-plane chart that have no effect in Tulle, and why. A key includes
// those below it. Such a key causes a warning, so that a values file written for Linkerd installs Tulle.
var linkerdOnly = []struct{ key, reason string }{
	{"cliVersion", "the version is that of the CLI"},
	{"clusterDomainSuffix", "clusterDomain says it"},
	{"cniEnabled", "there is no CNI plugin; capture is programmed by the init container"},
	{"commonLabels", "labels of the control plane's objects are fixed; podLabels adds to its pods"},
	{"controlPlaneTracing", "the control plane does not emit traces"},
	{"controlPlaneTracingNamespace", "the control plane does not emit traces"},
	{"controller", "disruption budgets follow enablePodDisruptionBudget"},
	{"debugContainer", "there is no debug sidecar; use kubectl debug"},
	{"deploymentStrategy", "deployments roll out without ever having fewer replicas than asked for"},
	{"destinationController", "it takes its settings from the other keys"},
	{"destinationProxyResources", "control-plane pods have no proxy"},
	{"disableHeartBeat", "nothing is ever reported home"},
	{"disableIPv6", "IPv6 is captured wherever a pod has it"},
	{"egress", "egress policy is not part of this release"},
	{"enableEndpointSlices", "EndpointSlices are always used"},
	{"enableH2Upgrade", "HTTP between two proxies is always multiplexed"},
	{"enablePSP", "PodSecurityPolicy left Kubernetes; the namespace enforces the restricted Pod Security Standard"},
	{"enablePprof", "the control plane does not serve profiles"},
	{"heartbeat", "nothing is ever reported home"},
	{"heartbeatResources", "nothing is ever reported home"},
	{"heartbeatSchedule", "nothing is ever reported home"},
	{"identity.additionalEnv", "the identity controller has no settings in its environment"},
	{"identity.experimentalEnv", "the identity controller has no settings in its environment"},
	{"identity.kubeAPI", "client limits are fixed"},
	{"identity.podAnnotations", "podAnnotations adds to every control-plane pod"},
	{"identity.serviceAccountTokenProjection", "the token is always a projected one with its own audience"},
	{"identityProxyResources", "control-plane pods have no proxy"},
	{"kubeAPI", "client limits are fixed"},
	{"linkerdNamespace", "the namespace is given by --linkerd-namespace"},
	{"namespace", "the namespace is given by --linkerd-namespace"},
	{"installNamespace", "the namespace is always part of the output"},
	{"networkValidator", "the init container checks the capture rules itself"},
	{"nodeAffinity", "nodeSelector and tolerations place the control plane"},
	{"podMonitor", "no monitoring objects are installed"},
	{"policyController", "the destination controller serves policy"},
	{"policyValidator", "there is no validating webhook"},
	{"profileValidator", "there is no validating webhook"},
	{"prometheusUrl", "nothing here reads from Prometheus"},
	{"proxy.capabilities", "the proxy needs no capability and drops all"},
	{"proxy.control", "control streams are kept for as long as they work"},
	{"proxy.cores", "the proxy follows its CPU limit"},
	{"proxy.enableExternalProfiles", "service profiles are not part of this release"},
	{"proxy.experimentalEnv", "a proxy has no settings in its environment"},
	{"proxy.inbound", "HTTP/2 limits and keepalives are fixed"},
	{"proxy.isGateway", "multi-cluster gateways are not part of this release"},
	{"proxy.isIngress", "requests go to the address that the ingress chose; let it send to Services, not to pods"},
	{"proxy.livenessProbe", "probe timings are fixed"},
	{"proxy.logHTTPHeaders", "headers are never logged"},
	{"proxy.outbound", "HTTP/2 limits and keepalives are fixed"},
	{"proxy.outboundTransportMode", "connections always go to the pod's own port"},
	{"proxy.metrics", "metrics never carry the names that clients ask for"},
	{"proxy.readinessProbe", "probe timings are fixed"},
	{"proxy.runtime", "the proxy follows its CPU limit"},
	{"proxy.saMountPath", "the token's place is fixed"},
	{"proxy.startupProbe", "probe timings are fixed"},
	{"proxy.tracing", "proxies pass trace context on and emit no spans"},
	{"proxyContainerName", "the container is called tulle-proxy"},
	{"proxyInit.closeWaitTimeoutSecs", "it needs a privileged init container"},
	{"proxyInit.image", "the init container runs the proxy's image"},
	{"proxyInit.iptablesMode", "capture is nftables over netlink; no iptables binary is used"},
	{"proxyInit.kubeAPIServerPorts", "control-plane pods have no proxy to skip"},
	{"proxyInit.logFormat", "proxy.logFormat applies"},
	{"proxyInit.logLevel", "proxy.logLevel applies"},
	{"proxyInit.privileged", "the init container needs NET_ADMIN alone"},
	{"proxyInit.resources", "the init container has the proxy's resources"},
	{"proxyInit.runAsGroup", "the init container's user is fixed"},
	{"proxyInit.runAsRoot", "the init container's user is fixed"},
	{"proxyInit.runAsUser", "the init container's user is fixed"},
	{"proxyInit.xtMountPath", "no iptables lock is needed"},
	{"proxyInjector.additionalEnv", "the injector has no settings in its environment"},
	{"proxyInjector.caBundle", "the injector makes and rotates its own certificate"},
	{"proxyInjector.crtPEM", "the injector makes and rotates its own certificate"},
	{"proxyInjector.externalSecret", "the injector makes and rotates its own certificate"},
	{"proxyInjector.injectCaFrom", "the injector makes and rotates its own certificate"},
	{"proxyInjector.injectCaFromSecret", "the injector makes and rotates its own certificate"},
	{"proxyInjector.keyPEM", "the injector makes and rotates its own certificate"},
	{"proxyInjector.namespaceSelector",
		"a namespace opts out with the label config.linkerd.io/admission-webhooks=disabled"},
	{"proxyInjector.objectSelector", "labels of a pod cannot take it out of injection"},
	{"proxyInjectorProxyResources", "control-plane pods have no proxy"},
	{"revisionHistoryLimit", "Kubernetes' default applies"},
	{"runtimeClassName", "the cluster's default runtime applies"},
	{"spValidator", "there is no validating webhook"},
	{"spValidatorResources", "there is no validating webhook"},
	{"webhookCertificates", "the injector makes and rotates its own certificate"},
}

// ignoredReason returns why a key of Linkerd's chart has no effect. ok is false if it is not such a key.
func ignoredReason(key string) (reason string, ok bool) {
	for _, k := range linkerdOnly {
		if key == k.key || strings.HasPrefix(key, k.key+".") {
			return k.reason, true
		}
	}
	return "", false
}

// unknownKey returns the error for a key that neither Tulle nor Linkerd has. It names the nearest key.
func unknownKey(key string) error {
	const list = "docs/cli.md#values-of-install lists the keys"
	best, ok := spelling.Nearest(key, slices.Sorted(slices.Values(keys("", schema()))))
	if !ok {
		return fmt.Errorf("unknown key %s: %s", key, list)
	}
	return fmt.Errorf("unknown key %s: did you mean %s? %s", key, best, list)
}

// keys lists all keys of the tree, inner ones included.
func keys(prefix string, tree map[string]any) []string {
	var out []string
	for k, v := range tree {
		key := strings.TrimPrefix(prefix+"."+k, ".")
		out = append(out, key)
		if below, ok := v.(map[string]any); ok {
			out = append(out, keys(key, below)...)
		}
	}
	return out
}
