package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestCheckNamesPodsWhoseKubeletIsKeptOut probes a pod over HTTPS at a port that a Server locks, and at one that it
// opens.
func TestCheckNamesPodsWhoseKubeletIsKeptOut(t *testing.T) {
	for policy, want := range map[string]string{
		"deny": "‼ kubelet probes are allowed\n    shop Pod/web-1: container web: livenessProbe asks port " +
			"8443 over HTTPS, and Server web refuses",
		"all-unauthenticated": "√ kubelet probes are allowed",
	} {
		f := healthyCluster(t)
		pod := find[*corev1.Pod](t, f, "web-1")
		for i := range pod.Spec.Containers {
			get := &corev1.HTTPGetAction{Port: intstr.FromInt32(8443), Scheme: corev1.URISchemeHTTPS}
			pod.Spec.Containers[i].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}
		}
		for _, tree := range trees(t,
			"apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: web, namespace: shop}\n"+
				"spec: {podSelector: {matchLabels: {app: web}}, port: 8443, accessPolicy: "+policy+"}\n") {
			f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
		}
		if r := runCLI(t, f.connect, "", "check", "--proxy", "--wait", "0s"); !strings.Contains(r.out, want) {
			t.Errorf("%s: no %q in\n%s%s", policy, want, r.out, r.err)
		}
	}
}
