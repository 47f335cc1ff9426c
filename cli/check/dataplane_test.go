package check

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Neither a pod nor a Service is looked at once for each of the other's in the whole cluster.
func BenchmarkCheckOpaquePorts(b *testing.B) {
	f := &facts{}
	f.services.value, f.pods.value = &corev1.ServiceList{}, &corev1.PodList{}
	for i := range 1000 {
		namespace, labels := fmt.Sprint("n", i), map[string]string{"app": "a"}
		f.services.value.Items = append(f.services.value.Items, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: namespace},
			Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80}}},
		})
		for j := range 5 {
			f.pods.value.Items = append(f.pods.value.Items, corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(j), Namespace: namespace, Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{
					{Name: mesh.ProxyContainer, Ports: []corev1.ContainerPort{{ContainerPort: 4143}, {ContainerPort: 4191}}},
					{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}},
				}},
			})
		}
	}
	for b.Loop() {
		if err := askOpaquePorts(f); err != nil {
			b.Fatal(err)
		}
	}
}
