package install

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"
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

// checkMetadata finds labels and annotations that the API server would refuse on the control plane's pods, and those
// that would override the manifests.
func (v *Values) checkMetadata() error {
	var errs []error
	report := func(key, value string, problems []string) {
		if len(problems) > 0 {
			errs = append(errs, fmt.Errorf("%s %q: %s", key, value, strings.Join(problems, "; ")))
		}
	}
	for _, set := range []struct {
		key    string
		values map[string]string
	}{{"podLabels", v.PodLabels}, {"podAnnotations", v.PodAnnotations}, {"nodeSelector", v.NodeSelector}} {
		for _, k := range slices.Sorted(maps.Keys(set.values)) {
			report(set.key, k, validation.IsQualifiedName(k))
			if set.key != "podAnnotations" {
				report(set.key+"."+k, set.values[k], validation.IsValidLabelValue(set.values[k]))
			}
			if set.key != "nodeSelector" && reserved(k) {
				errs = append(errs, fmt.Errorf("%s %q: the manifests set this themselves", set.key, k))
			}
		}
	}
	if v.PriorityClassName != "" {
		report("priorityClassName", v.PriorityClassName, validation.IsDNS1123Subdomain(v.PriorityClassName))
	}
	for i, s := range v.ImagePullSecrets {
		report(fmt.Sprintf("imagePullSecrets[%d].name", i), s.Name, validation.IsDNS1123Subdomain(s.Name))
	}
	for i, t := range v.Tolerations {
		if t.Key != "" {
			report(fmt.Sprintf("tolerations[%d].key", i), t.Key, validation.IsQualifiedName(t.Key))
		}
	}
	if strings.ContainsFunc(v.ControllerImage, unicode.IsSpace) || v.ControllerImage == "" {
		errs = append(errs, fmt.Errorf("controllerImage %q: want an image name without a tag", v.ControllerImage))
	}
	return errors.Join(errs...)
}

// reserved reports whether a label or annotation has a fixed meaning on the control plane's pods.
func reserved(key string) bool {
	switch key {
	case "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/version":
		return true
	}
	return strings.HasPrefix(key, "linkerd.io/")
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
	var errs []error
	for key, r := range map[string]Resources{
		"identityResources": v.IdentityResources, "destinationResources": v.DestinationResources,
		"proxyInjectorResources": v.InjectorResources,
	} {
		for kind, quantities := range r.Spec() {
			for name, quantity := range quantities {
				if q, err := resource.ParseQuantity(quantity); err != nil || q.Sign() <= 0 {
					errs = append(errs, fmt.Errorf("%s.%s %s: %q is not a positive quantity", key, name, kind, quantity))
				}
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
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
