package install

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// Validate returns all mistakes in v that would otherwise show only in the cluster. They are joined, each with its key.
// The warnings are about values that still work today.
func (v *Values) Validate(now time.Time) (warnings []string, err error) {
	warnings, credentials := v.checkCredentials(now)
	return warnings, errors.Join(v.checkNames(), v.checkMetadata(), v.checkControlPlane(), v.checkResources(),
		v.checkProxy(), credentials)
}

func (v *Values) checkNames() error {
	var errs []error
	if problems := validation.IsDNS1123Subdomain(v.ClusterDomain); problems != nil {
		errs = append(errs, fmt.Errorf("clusterDomain %q: %s", v.ClusterDomain, strings.Join(problems, "; ")))
	}
	id := mesh.ID{TrustDomain: v.TrustDomain(), Namespace: mesh.ControlPlaneNamespace, ServiceAccount: mesh.IdentityName}
	if err := id.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("identityTrustDomain: %w", err))
	}
	for network := range strings.SplitSeq(v.ClusterNetworks, ",") {
		if _, err := netip.ParsePrefix(strings.TrimSpace(network)); err != nil {
			errs = append(errs, fmt.Errorf("clusterNetworks: %q is not a CIDR", network))
		}
	}
	return errors.Join(errs...)
}

// checkMetadata finds what the API server would refuse on the control plane's pods.
func (v *Values) checkMetadata() error {
	err := PodSettings{Labels: v.PodLabels, Annotations: v.PodAnnotations, NodeSelector: v.NodeSelector,
		Tolerations: v.Tolerations, ImagePullSecrets: v.ImagePullSecrets}.Check()
	var errs []error
	if problems := validation.IsDNS1123Subdomain(v.PriorityClassName); v.PriorityClassName != "" && len(problems) > 0 {
		errs = append(errs, fmt.Errorf("priorityClassName %q: %s", v.PriorityClassName, strings.Join(problems, "; ")))
	}
	if strings.ContainsFunc(v.ControllerImage, unicode.IsSpace) || v.ControllerImage == "" {
		errs = append(errs, fmt.Errorf("controllerImage %q: want an image name without a tag", v.ControllerImage))
	}
	return errors.Join(append([]error{err}, errs...)...)
}

func (v *Values) checkControlPlane() error {
	var errs []error
	oneOf := func(key, got string, accepted ...string) {
		if !slices.Contains(accepted, got) {
			errs = append(errs, fmt.Errorf("%s %q: want %s", key, got, strings.Join(accepted, ", ")))
		}
	}
	atLeast := func(key string, got, least int64) {
		if got < least {
			errs = append(errs, fmt.Errorf("%s %d: want at least %d", key, got, least))
		}
	}
	oneOf("controllerLogLevel", v.ControllerLogLevel, "debug", "info", "warn", "error")
	oneOf("controllerLogFormat", v.ControllerLogFormat, "plain", "json")
	oneOf("imagePullPolicy", v.ImagePullPolicy, "Always", "IfNotPresent", "Never")
	oneOf("webhookFailurePolicy", string(v.WebhookFailurePolicy), string(inject.FailOpen), string(inject.FailClosed))
	oneOf("identity.issuer.scheme", v.Identity.Issuer.Scheme, OwnIssuer, ExternalIssuer)
	atLeast("controllerReplicas", int64(v.ControllerReplicas), 1)
	// The namespace is restricted: a root process would never start.
	atLeast("controllerUID", v.ControllerUID, 1)
	if s := v.Injector.TimeoutSeconds; s < 1 || s > 30 {
		errs = append(errs, fmt.Errorf("proxyInjector.timeoutSeconds %d: want 1 to 30", s))
	}
	_, err := v.Identity.Issuer.profile()
	return errors.Join(append(errs, err)...)
}

// profile returns the issuer's durations as the identity controller will use them. It has the same limits.
func (i *Issuer) profile() (ca.Profile, error) {
	lifetime, err := time.ParseDuration(i.IssuanceLifetime)
	if err != nil {
		return ca.Profile{}, fmt.Errorf("identity.issuer.issuanceLifetime: %w", err)
	}
	skew, err := time.ParseDuration(i.ClockSkewAllowance)
	if err != nil {
		return ca.Profile{}, fmt.Errorf("identity.issuer.clockSkewAllowance: %w", err)
	}
	p := ca.Profile{Lifetime: lifetime, Skew: skew}
	if err := p.Validate(); err != nil {
		return ca.Profile{}, fmt.Errorf("identity.issuer: %w", err)
	}
	return p, nil
}

func (v *Values) checkResources() error {
	return CheckResources(map[string]Resources{
		"identityResources": v.IdentityResources, "destinationResources": v.DestinationResources,
		"proxyInjectorResources": v.InjectorResources,
	})
}

func (v *Values) checkProxy() error {
	// The values do not have the version yet; Render adds it.
	err := v.ProxyDefaults(Target{Version: "0"}).Validate()
	// An annotation may name ports of its pods. The default applies to all pods, and with a name the destination
	// controller would not start.
	if _, wrong := mesh.ParsePortSet(v.Proxy.OpaquePorts, nil); err == nil && wrong != nil {
		err = fmt.Errorf("proxy.opaquePorts: %w", wrong)
	}
	return err
}
