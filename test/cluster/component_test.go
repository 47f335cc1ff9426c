package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testLayout = layout{data: "/checkout/.cluster", binaries: "/cache/kubernetes"}

func processNames(spec NodeSpec) []string {
	var names []string
	for _, p := range spec.Processes {
		names = append(names, p.Name)
	}
	return names
}

func TestOnlyTheFirstNodeRunsTheControlPlane(t *testing.T) {
	first, second := nodeSpec(testLayout, machine{}, fabric{}, 1), nodeSpec(testLayout, machine{}, fabric{}, 2)
	want := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet",
		"kube-proxy"}
	if diff := cmp.Diff(want, processNames(first)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"containerd", "kubelet", "kube-proxy"}, processNames(second)); diff != "" {
		t.Error(diff)
	}
}

func TestNodeLabelsCarryTheZone(t *testing.T) {
	args := kubelet(testLayout, machine{ipv6: true}, fabric{id: 5}, 2)
	for _, want := range []string{
		"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=zone-b",
		"--node-ip=198.18.5.2,fd00:198:18:5::2",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("kubelet %s: want %s", strings.Join(args, " "), want)
		}
	}
}

func TestConfigurationFollowsTheMachine(t *testing.T) {
	old := machine{cgroupV1: true, networkPlugin: "bridge"}
	if got := kubeletConfig(testLayout, old, fabric{}, 1)["failCgroupV1"]; got != false {
		t.Errorf("failCgroupV1 on cgroup v1: got %v, want false", got)
	}
	if _, set := kubeletConfig(testLayout, machine{}, fabric{}, 1)["failCgroupV1"]; set {
		t.Error("failCgroupV1 is set on cgroup v2")
	}
	if !strings.Contains(containerdConfig(machine{oomRestricted: true}), "restrict_oom_score_adj = true") {
		t.Error("containerd may lower oom_score_adj without CAP_SYS_RESOURCE")
	}
	for _, tc := range []struct {
		name   string
		m      machine
		ranges int
		bridge bool
	}{
		{"IPv4 bridge", machine{networkPlugin: "bridge"}, 1, true},
		{"dual stack, routed", machine{networkPlugin: "ptp", ipv6: true}, 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data, err := json.Marshal(networkConfig(tc.m, 1))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Plugins []struct {
					Type, Bridge string
					IPAM         struct{ Ranges [][]struct{ Subnet string } }
				}
			}
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			first := got.Plugins[0]
			if first.Type != tc.m.networkPlugin || (first.Bridge != "") != tc.bridge || len(first.IPAM.Ranges) != tc.ranges {
				t.Errorf("got %+v", first)
			}
		})
	}
}
