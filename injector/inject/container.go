package inject

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/mesh"
)

// Names inside an injected pod.
const (
	tokenVolume      = "tulle-identity-token"
	trustRootsVolume = "tulle-trust-roots"
	tokenDir         = "/var/run/secrets/tulle"
	tokenPath        = "token" // in tokenDir: together mesh.TokenFile
	tokenSeconds     = 86400
	binary           = "/tulle-proxy"
)

// forever stands for "detection has no time limit": a year, as in Linkerd.
const forever = mesh.Duration(365 * 24 * time.Hour)

// builder makes the parts of an injected pod from the pod's settings.
type builder struct {
	s     Settings
	ns    string
	owner Owner
	pod   string // its name, as far as it is known
}

// initContainer programs capture and ends. Root with NET_ADMIN alone is the least it can run with: a capability reaches
// a process of another user only through file capabilities, and the image is the proxy's, which must start without any.
func (b builder) initContainer(capture mesh.CaptureConfig) (corev1.Container, error) {
	config, err := json.Marshal(capture)
	if err != nil {
		return corev1.Container{}, fmt.Errorf("encode capture configuration: %w", err)
	}
	r := b.s.ProxyInit.Resources
	if r == nil {
		r = &b.s.Proxy.Resources
	}
	resources, err := r.requirements()
	if err != nil {
		return corev1.Container{}, err
	}
	sc := restricted()
	root := int64(0)
	sc.RunAsUser, sc.RunAsGroup, *sc.RunAsNonRoot = &root, &root, false
	sc.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name:                     mesh.InitContainer,
		Image:                    b.s.ImageRef(),
		ImagePullPolicy:          corev1.PullPolicy(b.s.Proxy.Image.PullPolicy),
		Command:                  []string{binary, "init"},
		Env:                      []corev1.EnvVar{{Name: mesh.CaptureConfigEnv, Value: string(config)}},
		Resources:                resources,
		SecurityContext:          sc,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}, nil
}

func (b builder) proxyContainer() (corev1.Container, error) {
	p := &b.s.Proxy
	env, err := b.env()
	if err != nil {
		return corev1.Container{}, err
	}
	resources, err := p.Resources.requirements()
	if err != nil {
		return corev1.Container{}, err
	}
	sc := restricted()
	sc.RunAsUser = &p.UID
	if p.GID > 0 {
		sc.RunAsGroup = &p.GID
	}
	c := corev1.Container{
		Name:            mesh.ProxyContainer,
		Image:           b.s.ImageRef(),
		ImagePullPolicy: corev1.PullPolicy(p.Image.PullPolicy),
		Command:         []string{binary},
		Env:             env,
		Ports: []corev1.ContainerPort{
			{Name: "tulle-proxy", ContainerPort: int32(p.Ports.Inbound), Protocol: corev1.ProtocolTCP},
			{Name: "tulle-admin", ContainerPort: int32(p.Ports.Admin), Protocol: corev1.ProtocolTCP},
		},
		Resources: resources,
		VolumeMounts: []corev1.VolumeMount{
			{Name: tokenVolume, MountPath: tokenDir, ReadOnly: true},
			{Name: trustRootsVolume, MountPath: mesh.TrustRootsDir, ReadOnly: true},
		},
		LivenessProbe: b.probe("/live",
			corev1.Probe{InitialDelaySeconds: 10, PeriodSeconds: 10, FailureThreshold: 3}),
		ReadinessProbe: b.probe("/ready",
			corev1.Probe{InitialDelaySeconds: 2, PeriodSeconds: 10, FailureThreshold: 3}),
		SecurityContext:          sc,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	if p.Await {
		c.StartupProbe = b.probe("/ready", corev1.Probe{PeriodSeconds: 1, FailureThreshold: 120})
	}
	return c, nil
}

func (b builder) probe(path string, p corev1.Probe) *corev1.Probe {
	p.TimeoutSeconds = 5 // a proxy that is starved of CPU is slow, and a restart would only cost its connections
	p.HTTPGet = &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(int32(b.s.Proxy.Ports.Admin))}
	return &p
}

// env holds one JSON with what is the same for every pod of a template, and one variable for each fact that is not.
func (b builder) env() ([]corev1.EnvVar, error) {
	config, err := json.Marshal(b.proxyConfig())
	if err != nil {
		return nil, fmt.Errorf("encode proxy configuration: %w", err)
	}
	env := []corev1.EnvVar{{Name: mesh.ProxyConfigEnv, Value: string(config)}}
	for _, f := range []struct{ name, path string }{
		{mesh.PodEnv, "metadata.name"},
		{mesh.NamespaceEnv, "metadata.namespace"},
		{mesh.NodeEnv, "spec.nodeName"},
		{mesh.ServiceAccountEnv, "spec.serviceAccountName"},
		{mesh.PodIPsEnv, "status.podIPs"},
		{mesh.HostIPsEnv, "status.hostIPs"},
	} {
		source := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: f.path}}
		env = append(env, corev1.EnvVar{Name: f.name, ValueFrom: source})
	}
	if limit := b.s.Proxy.Resources.Memory.Limit; limit != "" {
		q, err := resource.ParseQuantity(limit)
		if err != nil {
			return nil, fmt.Errorf("read proxy-memory-limit: %w", err)
		}
		// The collector works harder from nine tenths of the limit on, instead of meeting the kernel's killer at the whole.
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(q.Value()/10*9, 10)})
	}
	for _, e := range b.s.Proxy.AdditionalEnv {
		env = append(env, corev1.EnvVar{Name: e.Name, Value: e.Value})
	}
	return env, nil
}

func (b builder) proxyConfig() mesh.ProxyConfig {
	p := &b.s.Proxy
	identity, destination := b.s.Addresses()
	c := mesh.ProxyConfig{
		ControlPlaneNamespace:  b.s.ControlPlaneNamespace,
		TrustDomain:            b.s.TrustDomain,
		ClusterDomain:          b.s.ClusterDomain,
		Version:                b.s.proxyVersion(),
		IdentityAddr:           identity,
		DestinationAddr:        destination,
		TokenFile:              mesh.TokenFile,
		TrustRootsFile:         mesh.TrustRootsDir + "/" + mesh.TrustRootsKey,
		OutboundPort:           p.Ports.Outbound,
		InboundPort:            p.Ports.Inbound,
		ControlPort:            p.Ports.Control,
		AdminPort:              p.Ports.Admin,
		TapID:                  b.s.TapID(),
		TapRedactedHeaders:     listOf(p.Tap.RedactedHeaders),
		TapRedactedParameters:  p.Tap.parameters(),
		Tracing:                p.Tracing.config(b.s.TrustDomain, b.ns, b.owner, b.pod),
		DefaultInboundPolicy:   p.DefaultInboundPolicy,
		LogLevel:               p.LogLevel,
		LogFormat:              p.LogFormat,
		AccessLog:              p.AccessLog,
		OutboundConnectTimeout: p.OutboundConnectTimeout,
		InboundConnectTimeout:  p.InboundConnectTimeout,
		OutboundDiscoveryIdle:  p.OutboundDiscoveryIdle,
		InboundDiscoveryIdle:   p.InboundDiscoveryIdle,
		ShutdownGrace:          p.ShutdownGrace,
		WaitBeforeExit:         mesh.Duration(time.Duration(p.WaitBeforeExitSeconds) * time.Second),
		MaxHeaderListBytes:     bytesOf(p.MaxHeaderListSize),
		AdminShutdown:          p.EnableShutdown,
		Workers:                p.Resources.CPU.workers(),
		WorkersRatio:           p.Resources.CPU.RatioLimit,
	}
	if c.AccessLog == "off" {
		c.AccessLog = ""
	}
	if p.DisableOutboundDetectTimeout {
		c.OutboundDetectTimeout = forever
	}
	if p.DisableInboundDetectTimeout {
		c.InboundDetectTimeout = forever
	}
	return c
}

func (b builder) volumes() []corev1.Volume {
	seconds := int64(tokenSeconds)
	token := corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
		ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: mesh.TokenAudience, ExpirationSeconds: &seconds, Path: tokenPath,
		},
	}}}
	roots := corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{
		Name: mesh.TrustRootsConfigMap}}
	return []corev1.Volume{
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &token}},
		{Name: trustRootsVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &roots}},
	}
}

// restricted is a security context that Pod Security "restricted" accepts; every pointer is the caller's own.
func restricted() *corev1.SecurityContext {
	yes, readOnly, no := true, true, false
	return &corev1.SecurityContext{
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		RunAsNonRoot:             &yes,
		ReadOnlyRootFilesystem:   &readOnly,
		AllowPrivilegeEscalation: &no,
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// workers is the number of cores that a CPU limit allows, rounded up; 0 without a limit.
func (c CPU) workers() int {
	q, err := resource.ParseQuantity(c.Limit)
	if err != nil {
		return 0 // "" or refused earlier
	}
	return int((q.MilliValue() + 999) / 1000)
}

func (r Resources) requirements() (corev1.ResourceRequirements, error) {
	var out corev1.ResourceRequirements
	for _, x := range []struct {
		list *corev1.ResourceList
		name corev1.ResourceName
		text string
	}{
		{&out.Requests, corev1.ResourceCPU, r.CPU.Request},
		{&out.Limits, corev1.ResourceCPU, r.CPU.Limit},
		{&out.Requests, corev1.ResourceMemory, r.Memory.Request},
		{&out.Limits, corev1.ResourceMemory, r.Memory.Limit},
		{&out.Requests, corev1.ResourceEphemeralStorage, r.EphemeralStorage.Request},
		{&out.Limits, corev1.ResourceEphemeralStorage, r.EphemeralStorage.Limit},
	} {
		if x.text == "" {
			continue
		}
		q, err := resource.ParseQuantity(x.text)
		if err != nil {
			return out, fmt.Errorf("read the proxy's %s %q: %w", x.name, x.text, err)
		}
		if *x.list == nil {
			*x.list = corev1.ResourceList{}
		}
		(*x.list)[x.name] = q
	}
	return out, nil
}
