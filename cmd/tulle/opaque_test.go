package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// The injector, the destination controller and check judge a Service's opaque ports alike, and in the same words.
func TestOpaquePortsOfAServiceHaveOneJudge(t *testing.T) {
	for value, wrong := range map[string]bool{
		"": false, "80": false, "80,http": false, "8080-tcp": false, "80-90": false,
		"80-x": true, "80-": true, "90-80": true, "redis": true, "dns": true, "70000": true, "80,x!": true,
	} {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop",
				Annotations: map[string]string{mesh.OpaquePortsAnnotation: value}},
			Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
				{Name: "http", Port: 80}, {Name: "8080-tcp", Port: 8080}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
			}},
		}
		err := inject.CheckService(svc)
		problems := model.New(model.Config{}).Apply(model.Event{Object: svc}).Problems
		if (err != nil) != wrong || (len(problems) > 0) != wrong {
			t.Errorf("%q: the injector says %v, the controller %v; want a complaint of both or of neither: %v", value, err,
				problems, wrong)
		}
		if !wrong {
			continue
		}
		if len(problems) > 0 && !strings.HasPrefix(problems[0].String(), err.Error()+"; ") {
			t.Errorf("%q: the injector says %q, the controller %q", value, err, problems[0].Message)
		}
		f := healthyCluster(t)
		f.objects = append(f.objects, svc)
		if r := runCLI(t, f.connect, "", "check", "--proxy", "--wait=0s", "-o", "short"); !strings.Contains(r.out,
			"shop/web: "+err.Error()) {
			t.Errorf("%q: check does not say %q:\n%s", value, err, r.out)
		}
	}
}

// Pods that were admitted before names were looked at run on; their workload would get no new ones.
func TestCheckNamesPodsWhoseLikesAreRefused(t *testing.T) {
	f := healthyCluster(t)
	find[*corev1.Pod](t, f, "web-1").Annotations[mesh.OpaquePortsAnnotation] = "80,redis"
	r := runCLI(t, f.connect, "", "check", "--proxy", "--wait=0s", "-o", "short")
	want := `shop/web-1: annotation config.linkerd.io/opaque-ports: "redis" is not a port (1-65535), a range first-last or the name of one of its ports`
	if r.code != 0 || !strings.Contains(r.out, want) || !strings.Contains(r.out, "new pods with it are refused") {
		t.Errorf("exit code %d, want a warning that says %s:\n%s", r.code, want, r.out)
	}
}
