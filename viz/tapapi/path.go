package tapapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/internal/spelling"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// root is where the API server forwards requests from.
const root = "/apis/" + tap.Group + "/" + tap.Version

// resources maps the resources that can be watched to their kinds.
var resources = map[string]string{
	"namespaces": "namespace", "pods": "pod", "deployments": "deployment", "statefulsets": "statefulset",
	"daemonsets": "daemonset", "replicasets": "replicaset", "jobs": "job", "cronjobs": "cronjob",
	"replicationcontrollers": "replicationcontroller",
}

// path is a request's path, parsed. For a namespace, name is the namespace.
type path struct{ namespace, resource, name string }

func (p path) String() string { return p.resource + "/" + p.name + " in " + p.namespace }

// parsePath reads /watch/namespaces/<namespace>/<resource>/<name>/tap below root, or /watch/namespaces/<namespace>/tap
// for all of a namespace.
func parsePath(text string) (path, *refusal) {
	rest, ok := strings.CutPrefix(text, root+"/watch/namespaces/")
	parts := strings.Split(rest, "/")
	if !ok || parts[len(parts)-1] != "tap" || len(parts) != 2 && len(parts) != 4 {
		return path{}, &refusal{"invalid", http.StatusNotFound, fmt.Sprintf(
			"path %q: want %s/watch/namespaces/<namespace>/<resource>/<name>/tap", text, root)}
	}
	p := path{namespace: parts[0], resource: "namespaces", name: parts[0]}
	if len(parts) == 4 {
		p.resource, p.name = parts[1], parts[2]
	}
	if _, known := resources[p.resource]; !known || p.resource == "namespaces" && p.name != p.namespace {
		no := fmt.Sprintf("resource %q cannot be watched", p.resource)
		if near, ok := spelling.Nearest(p.resource, slices.Sorted(maps.Keys(resources))); ok && !known {
			no += fmt.Sprintf("; did you mean %s?", near)
		}
		return path{}, &refusal{"invalid", http.StatusNotFound, no}
	}
	if len(validation.IsDNS1123Label(p.namespace)) > 0 || len(validation.IsDNS1123Subdomain(p.name)) > 0 {
		return path{}, &refusal{"invalid", http.StatusBadRequest, fmt.Sprintf(
			"%q in namespace %q: no such name is possible", p.name, p.namespace)}
	}
	return p, nil
}

// discovery returns the document at a path that describes the API; nil if there is none.
func discovery(path string) any {
	version := metav1.GroupVersionForDiscovery{GroupVersion: tap.Group + "/" + tap.Version, Version: tap.Version}
	group := metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: tap.Group,
		Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	switch strings.TrimSuffix(path, "/") {
	case "/apis":
		return metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group},
		}
	case "/apis/" + tap.Group:
		return group
	case root:
		list := metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version.GroupVersion,
		}
		for _, name := range slices.Sorted(maps.Keys(resources)) {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name + "/tap", Namespaced: true, Kind: "Tap", Verbs: metav1.Verbs{"watch"},
			})
		}
		return list
	}
	return nil
}

// targets returns the proxies of the pods that the path names, and notices of the pods that cannot be watched.
func (s *Server) targets(what path, pods []corev1.Pod) (targets []tap.Target, skipped []tap.Notice) {
	kind := resources[what.resource]
	for i := range pods {
		pod := &pods[i]
		ref := compile.PodRef(pod)
		switch {
		case kind == "pod" && pod.Name != what.name:
			continue
		case kind != "pod" && kind != "namespace" && podowner.All(pod)[kind] != what.name:
			continue
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
			continue
		}
		target, why := s.target(pod, ref)
		if why != "" {
			proxy := pod.Namespace + "/" + pod.Name
			skipped = append(skipped, tap.Notice{Proxy: proxy, Kind: tap.Unreachable, Text: why})
			continue
		}
		targets = append(targets, target)
	}
	return targets, skipped
}

// target returns the proxy of a pod, or why it cannot be watched. The pod's own configuration says where its proxy
// listens; the identity that the proxy must prove comes from the pod's ServiceAccount alone.
func (s *Server) target(pod *corev1.Pod, ref mesh.PodRef) (target tap.Target, why string) {
	proxy := sidecar.Of(pod)
	if proxy == nil {
		return target, "the pod has no proxy"
	}
	var config mesh.ProxyConfig
	for _, e := range proxy.Env {
		if e.Name != mesh.ProxyConfigEnv {
			continue
		}
		var err error
		if config, err = mesh.ParseProxyConfig([]byte(e.Value)); err != nil {
			return target, "its configuration is of another release; restart the pod"
		}
	}
	if config.TapID == "" {
		return target, "tap is turned off for the pod, or its proxy is too old; restart the pod after a change"
	}
	if config.TapID != s.cfg.ID.String() {
		return target, fmt.Sprintf("only %s may watch its proxy", config.TapID)
	}
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || !sidecar.Running(pod) {
		return target, "its proxy does not run"
	}
	return tap.Target{
		Namespace: pod.Namespace, Pod: pod.Name, Addr: netip.AddrPortFrom(addr, config.ControlPort), Ref: ref,
		ID: mesh.ID{TrustDomain: s.cfg.ID.TrustDomain, Namespace: pod.Namespace, ServiceAccount: ref.ServiceAccount},
	}, ""
}

// noTargetsText returns the reason why there is nothing to watch.
func noTargetsText(what path, skipped []tap.Notice) string {
	if len(skipped) == 0 {
		return fmt.Sprintf("no pod of %s runs", what)
	}
	return fmt.Sprintf("no pod of %s can be watched: %s: %s", what, skipped[0].Proxy, skipped[0].Text)
}
