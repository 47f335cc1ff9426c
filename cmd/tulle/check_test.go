package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install/manifests"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestCheckGolden(t *testing.T) {
	for name, test := range map[string]struct {
		cluster *fakeCluster
		args    []string
		code    int
	}{
		"check/pre.txt": {emptyCluster(), []string{"check", "--pre"}, 0},
		"check/pre-denied.txt": {&fakeCluster{apiVersion: "v1.36.3", mayNot: map[string]bool{"clusterroles": true}},
			[]string{"check", "--pre"}, 1},
		"check/old.txt":     {&fakeCluster{apiVersion: "v1.27.4"}, []string{"check", "--pre"}, 1},
		"check/absent.txt":  {emptyCluster(), []string{"check", "--wait=0s"}, 1},
		"check/healthy.txt": {healthyCluster(t), []string{"-n", "shop", "check", "--proxy"}, 0},
		"check/short.txt":   {healthyCluster(t), []string{"check", "-o", "short", "--expected-version=v9"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.cluster.connect, "", test.args...)
			if r.code != test.code {
				t.Errorf("exit code %d, want %d", r.code, test.code)
			}
			golden(t, name, r)
		})
	}
}

func TestCheckJSON(t *testing.T) {
	f := healthyCluster(t)
	find[*appsv1.Deployment](t, f, "tulle-identity").Status.ReadyReplicas = 0
	r := runCLI(t, f.connect, "", "check", "-o", "json", "--wait=0s")
	var doc struct {
		Success    bool
		Categories []struct {
			CategoryName string
			Checks       []struct{ Description, Hint, Error, Result string }
		}
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	if doc.Success || r.code != 1 || doc.Categories[0].CategoryName != "kubernetes-api" {
		t.Errorf("success %v, exit code %d, first category %q", doc.Success, r.code, doc.Categories[0].CategoryName)
	}
	found := false
	for _, cat := range doc.Categories {
		for _, ch := range cat.Checks {
			found = found || ch.Result == "error" && strings.Contains(ch.Error, "tulle-identity: 0 of 1 replicas") && strings.HasPrefix(ch.Hint, "https://github.com/tulle-mesh/tulle/blob/main/docs/checks.md#")
		}
	}
	if !found {
		t.Errorf("no error names tulle-identity:\n%s", r.out)
	}
}

// Each case breaks one thing in a healthy cluster and names what check must say, and nothing else may fail.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*testing.T, *fakeCluster)
		symbol string
		want   string
	}{
		"a pod that crashes": {func(t *testing.T, f *fakeCluster) {
			pod := find[*corev1.Pod](t, f, "tulle-destination-0")
			pod.Status.Conditions = nil
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "destination", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"},
			}}}
		}, "×", "tulle-destination-0: container destination is waiting: CrashLoopBackOff back-off 10s"},
		"a pod without a node": {func(t *testing.T, f *fakeCluster) {
			pod := find[*corev1.Pod](t, f, "tulle-identity-0")
			pod.Status.Conditions = append(pod.Status.Conditions,
				corev1.PodCondition{Type: corev1.PodScheduled, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes"})
		}, "×", "tulle-identity-0: 0/1 nodes"},
		"a pod outside of the networks": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-1").Status.PodIPs = []corev1.PodIP{{IP: "100.1.2.3"}}
		}, "×", "shop/web-1 (100.1.2.3)"},
		"a node's podCIDR outside of the networks": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Node](t, f, "node-1").Spec.PodCIDRs = []string{"10.0.0.0/7"}
		}, "×", "node-1 (10.0.0.0/7)"},
		"a role that was deleted": {func(t *testing.T, f *fakeCluster) {
			find[*rbacv1.ClusterRole](t, f, "tulle-identity").Name = "gone"
		}, "×", "missing: ClusterRole/tulle-identity"},
		"a namespace that is not restricted": {func(t *testing.T, f *fakeCluster) {
			delete(find[*corev1.Namespace](t, f, "tulle").Labels, "pod-security.kubernetes.io/enforce")
		}, "‼", "pod-security.kubernetes.io/enforce"},
		"an issuer of another root": {func(t *testing.T, f *fakeCluster) {
			other := healthyCluster(t)
			find[*corev1.Secret](t, f, mesh.IssuerSecret).Data = find[*corev1.Secret](t, other, mesh.IssuerSecret).Data
		}, "×", "issuer cert is issued by the trust anchor"},
		"an anchor that was deleted": {func(t *testing.T, f *fakeCluster) {
			issuer := find[*corev1.Secret](t, f, mesh.IssuerSecret)
			sum := sha256.Sum256(issuer.Data["crt.pem"])
			issuer.Annotations = map[string]string{mesh.MadeIssuerAnnotation: hex.EncodeToString(sum[:16])}
		}, "‼", "\"tulle-identity-trust-anchor\" not found"},
		"an edited copy of the anchors": {func(t *testing.T, f *fakeCluster) {
			for _, o := range f.objects {
				if cm, ok := o.(*corev1.ConfigMap); ok && cm.Namespace == "shop" {
					cm.Data[mesh.TrustRootsKey] += "# edited"
				}
			}
		}, "×", "namespaces with other trust anchors than tulle: shop"},
		"a webhook without a CA": {func(t *testing.T, f *fakeCluster) {
			find[*admissionv1.MutatingWebhookConfiguration](t, f,
				mesh.WebhookConfiguration).Webhooks[0].ClientConfig.CABundle = nil
		}, "×", "has no caBundle yet"},
		"a certificate that nobody can renew": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Secret](t, f, mesh.InjectorSecret).Immutable = new(true)
		}, "×", "kubectl delete secret -n tulle " + mesh.InjectorSecret},
		"a webhook with another CA": {func(t *testing.T, f *fakeCluster) {
			find[*admissionv1.MutatingWebhookConfiguration](t, f,
				mesh.WebhookConfiguration).Webhooks[0].ClientConfig.CABundle = webhookCertificate(t)
		}, "×", "x509"},
		"a webhook that labels pass by": {func(t *testing.T, f *fakeCluster) {
			hook := find[*admissionv1.MutatingWebhookConfiguration](t, f, mesh.WebhookConfiguration)
			hook.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, "‼", "objectSelector"},
		"a pod that was never injected": {func(t *testing.T, f *fakeCluster) {
			f.objects = append(f.objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: "shop"}})
		}, "‼", "pods without a proxy, restart them: shop/old"},
		"a pod that another mesh has": {func(t *testing.T, f *fakeCluster) {
			f.objects = append(f.objects, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "theirs", Namespace: "shop"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "istio-proxy"}}},
			})
		}, "‼", "another mesh's proxy, which keeps this one's away: shop/theirs"},
		"a proxy that is not ready": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-2").Status.InitContainerStatuses[0].Ready = false
		}, "×", "shop/web-2: proxy is not ready"},
		"a proxy whose image cannot be had": {func(t *testing.T, f *fakeCluster) {
			waiting := func(reason, message string) corev1.ContainerState {
				return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
			}
			find[*corev1.Pod](t, f, "web-1").Status.InitContainerStatuses = []corev1.ContainerStatus{
				{Name: mesh.InitContainer, State: waiting("ErrImagePull", "no such tag")},
				{Name: mesh.ProxyContainer, State: waiting("PodInitializing", "")},
			}
		}, "×", "shop/web-1: proxy is waiting for container tulle-init: ErrImagePull no such tag"},
		"a workload whose new pods are refused, beside others": {func(_ *testing.T, f *fakeCluster) {
			f.objects = append(f.objects, refusedDeployment("cart"))
		}, "×", "deploy/cart -n shop gets no new pods: violates PodSecurity"},
		"a StatefulSet whose new pods are refused": {func(_ *testing.T, f *fakeCluster) {
			about := corev1.ObjectReference{UID: "db-uid"}
			f.objects = append(f.objects,
				&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop", UID: about.UID}},
				&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "db.1", Namespace: "shop"}, InvolvedObject: about,
					Reason:  "FailedCreate",
					Message: "denied: proxy-cpu-limit", LastTimestamp: metav1.Unix(2, 0)},
				&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "db.2", Namespace: "shop"}, InvolvedObject: about,
					Reason:  "FailedCreate",
					Message: "an earlier mistake", LastTimestamp: metav1.Unix(1, 0)})
		}, "×", "sts/db -n shop gets no new pods: denied: proxy-cpu-limit"},
		"a control plane that is scaled to zero": {func(t *testing.T, f *fakeCluster) {
			find[*appsv1.Deployment](t, f, "tulle-identity").Spec.Replicas = new(int32)
		}, "×", "tulle-identity: scaled to 0 replicas; kubectl -n tulle scale deploy/tulle-identity --replicas=1"},
		"proxies without a control plane": {func(_ *testing.T, f *fakeCluster) {
			f.objects = slices.DeleteFunc(f.objects, func(o runtime.Object) bool {
				pod, ok := o.(*corev1.Pod)
				return ok && pod.Namespace == "tulle"
			})
		}, "×", "‼ data plane is up-to-date\n    there are no control plane pods to compare with"},
		"a proxy whose version is pinned": {func(t *testing.T, f *fakeCluster) {
			pod := find[*corev1.Pod](t, f, "web-1")
			pod.Annotations[mesh.ProxyVersionAnnotation], pod.Annotations[mesh.ConfigPrefix+"proxy-version"] = "v0.0.1", "v0.0.1"
		}, "‼", "shop/web-1: proxy v0.0.1, control plane dev: its annotation config.linkerd.io/proxy-version asks for " +
			"that one"},
		"an application with the proxy's user": {func(t *testing.T, f *fakeCluster) {
			uid := int64(mesh.ProxyUID)
			find[*corev1.Pod](t, f, "web-1").Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: &uid}
		}, "×", "shop/web-1: container web runs as user 2102"},
		"a proxy of another release": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-1").Annotations[mesh.ProxyVersionAnnotation] = "v0.0.1"
		}, "‼", "shop/web-1: proxy v0.0.1, control plane dev"},
		"an annotation written as a label": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-1").Labels["config.linkerd.io/proxy-log-level"] = "debug"
		}, "‼", "is a label, but must be an annotation"},
		"an opaque Service port of a pod that says otherwise": {func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "web-1").Annotations[mesh.OpaquePortsAnnotation] = "9999"
			f.objects = append(f.objects, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop",
					Annotations: map[string]string{mesh.OpaquePortsAnnotation: "80"}},
				Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
			})
		}, "‼", "pod shop/web-1: port 80 is not opaque, but port 80 of service web that leads to it is"},
		"inject on a Service": {func(t *testing.T, f *fakeCluster) {
			f.objects = append(f.objects, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop",
				Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}}})
		}, "‼", "has no effect on a Service"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			test.damage(t, f)
			r := runCLI(t, f.connect, "", "check", "--proxy", "--wait=0s", "-o", "short")
			if !strings.Contains(r.out, test.want) {
				t.Errorf("check does not say %q:\n%s", test.want, r.out)
			}
			if !strings.Contains(r.out, "\n"+test.symbol+" ") {
				t.Errorf("no line begins with %s:\n%s", test.symbol, r.out)
			}
			if wantCode := map[string]int{"×": 1, "‼": 0}[test.symbol]; r.code != wantCode {
				t.Errorf("exit code %d, want %d:\n%s", r.code, wantCode, r.out)
			}
		})
	}
}

// TestCheckOfAnIssuerOverOneThatWasMade looks at a Secret as `kubectl apply` leaves it: with the mark of the
// certificate before. No anchor of ours renews it.
func TestCheckOfAnIssuerOverOneThatWasMade(t *testing.T) {
	f := healthyCluster(t)
	find[*corev1.Secret](t, f,
		mesh.IssuerSecret).Annotations = map[string]string{mesh.MadeIssuerAnnotation: "0123456789abcdef0123456789abcdef"}
	r := runCLI(t, f.connect, "", "check", "--wait=0s")
	if r.code != 0 || strings.Contains(r.out, "tulle-identity-trust-anchor") {
		t.Errorf("exit code %d\n%s", r.code, r.out)
	}
}

// TestCheckTellsOnceOfAMissingImage looks at a pod between two tries to pull its image and at one, as the kubelet
// alternates.
func TestCheckTellsOnceOfAMissingImage(t *testing.T) {
	f := healthyCluster(t)
	pod := find[*corev1.Pod](t, f, "tulle-destination-0")
	pod.Status.Conditions = nil
	states := []*corev1.ContainerStateWaiting{
		{Reason: "ErrImagePull", Message: "no such host"},
		{Reason: "ImagePullBackOff", Message: `Back-off pulling image "controller:v1": ErrImagePull: no such host`},
	}
	asked := 0
	connect := func(flags globalFlags) (*cluster.Client, error) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "destination",
			State: corev1.ContainerState{Waiting: states[asked%2]}}}
		asked++
		return f.connect(flags)
	}
	r := runCLI(t, connect, "", "check", "--wait=3s")
	if lines := strings.Count(r.err, "waiting: "); asked < 2 || lines != 2 { // the line's own word, and the container's
		t.Errorf("%d readings said %q", asked, r.err)
	}
}

func TestCheckWaitsForWhatSettles(t *testing.T) {
	f := healthyCluster(t)
	identity := find[*appsv1.Deployment](t, f, "tulle-identity")
	identity.Status.ReadyReplicas = 0
	asked := 0
	connect := func(flags globalFlags) (*cluster.Client, error) {
		if asked++; asked == 2 {
			identity.Status.ReadyReplicas = 1
		}
		return f.connect(flags)
	}
	r := runCLI(t, connect, "", "check", "--wait=1m")
	if r.code != 0 || asked != 2 ||
		!strings.Contains(r.err, "waiting: control plane deployments are ready: tulle-identity: 0 of 1") {
		t.Errorf("exit code %d after %d readings, stderr %q; want 0 after 2 and a word about tulle-identity", r.code, asked,
			r.err)
	}
}

// removePods takes the pods of namespace shop out of the cluster.
func removePods(f *fakeCluster) {
	f.objects = slices.DeleteFunc(f.objects, func(o runtime.Object) bool {
		pod, ok := o.(*corev1.Pod)
		return ok && pod.Namespace == "shop"
	})
}

// Nobody waits for proxies that nothing is going to start; the answer says what would.
func TestCheckSaysAtOnceThatThereAreNoProxies(t *testing.T) {
	bare := func(names ...string) func(*fakeCluster) {
		return func(f *fakeCluster) {
			removePods(f)
			for _, name := range names {
				f.objects = append(f.objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}})
			}
		}
	}
	unannotated := func(f *fakeCluster) { find[*corev1.Namespace](t, f, "shop").Annotations = nil }
	for name, test := range map[string]struct {
		damage []func(*fakeCluster)
		args   []string
		want   string
	}{
		"pods older than the annotation": {
			[]func(*fakeCluster){bare("old")}, []string{"-n", "shop"},
			"no pod with a proxy found in namespace shop, which asks for proxies; pods get theirs when they start: kubectl " +
				"-n shop rollout restart deploy",
		},
		"a namespace without the annotation": {
			[]func(*fakeCluster){bare("old"), unannotated}, []string{"-n", "shop"},
			"which does not ask for proxies: kubectl annotate namespace shop linkerd.io/inject=enabled, then kubectl -n shop " +
				"rollout restart deploy",
		},
		"a namespace whose annotation means nothing": {
			[]func(*fakeCluster){bare("old"), func(f *fakeCluster) {
				find[*corev1.Namespace](t, f, "shop").Annotations = map[string]string{mesh.InjectAnnotation: "enable"}
			}}, []string{"-n", "shop"},
			`whose annotation linkerd.io/inject is "enable": kubectl annotate --overwrite namespace shop linkerd.io/inject=enabled, then kubectl`,
		},
		"workloads that wait for a person": {
			[]func(*fakeCluster){bare("old"), func(f *fakeCluster) {
				onDelete := appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
				f.objects = append(f.objects,
					&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
						Spec: appsv1.DeploymentSpec{Paused: true}},
					&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop"},
						Spec: appsv1.StatefulSetSpec{UpdateStrategy: onDelete}, Status: appsv1.StatefulSetStatus{Replicas: 1}})
			}}, []string{"-n", "shop"}, "no pod with a proxy found in namespace shop, which asks for proxies",
		},
		"an empty namespace": {[]func(*fakeCluster){bare()}, []string{"-n", "shop"},
			"there are no pods in namespace shop; those that start get a proxy"},
		"an empty namespace without the annotation": {[]func(*fakeCluster){bare(), unannotated}, []string{"-n", "shop"},
			"shop, which does not ask for proxies: kubectl annotate"},
		"the control plane's namespace": {nil, []string{"-n", "tulle"}, "namespace tulle is the control plane's"},
		"a cluster without proxies": {[]func(*fakeCluster){bare("old")}, nil,
			"no pod with a proxy found in any namespace; proxies are asked for in shop"},
		"a cluster that asks for none": {[]func(*fakeCluster){bare("old"), unannotated}, nil,
			"in any namespace, and none asks for proxies"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			for _, damage := range test.damage {
				damage(f)
			}
			asked := 0
			connect := func(flags globalFlags) (*cluster.Client, error) { asked++; return f.connect(flags) }
			r := runCLI(t, connect, "", append(test.args, "check", "--proxy", "--wait=5s", "-o", "short")...)
			if asked != 1 || r.code != 1 || !strings.Contains(r.out, "× data plane proxies are ready\n    ") ||
				!strings.Contains(r.out, test.want) {
				t.Errorf("exit code %d after %d readings; want 1 after 1, and %q:\n%s", r.code, asked, test.want, r.out)
			}
		})
	}
}

// TestCheckDoesNotWaitForPodsThatAreForbidden names each workload whose pods the API server does not take, and does not
// wait for them.
func TestCheckDoesNotWaitForPodsThatAreForbidden(t *testing.T) {
	event := func(uid types.UID, message string) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: string(uid), Namespace: "shop"}, Reason: "FailedCreate",
			Message:        message,
			InvolvedObject: corev1.ObjectReference{UID: uid}, LastTimestamp: metav1.Unix(1, 0)}
	}
	named := func(uid types.UID) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: uid}
	}
	const quota = `pods "web-0" is forbidden: exceeded quota: small`
	for name, test := range map[string]struct {
		meshed  bool // other pods of the namespace have proxies
		objects []runtime.Object
		want    string
	}{
		"a Deployment, by Pod Security": {false, []runtime.Object{refusedDeployment("web")},
			"deploy/web -n shop gets no new pods: violates PodSecurity"},
		"a Deployment beside proxies": {true, []runtime.Object{refusedDeployment("web")},
			"deploy/web -n shop gets no new pods: violates PodSecurity"},
		"a StatefulSet, by quota": {false, []runtime.Object{&appsv1.StatefulSet{ObjectMeta: named("u")},
			event("u", quota)}, "sts/web -n shop gets no new pods: " + quota},
		"a DaemonSet": {false, []runtime.Object{&appsv1.DaemonSet{ObjectMeta: named("u"),
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1}},
			event("u", quota)}, "ds/web -n shop gets no new pods: " + quota},
		"a ReplicaSet of its own": {false, []runtime.Object{&appsv1.ReplicaSet{ObjectMeta: named("u")}, event("u", quota)},
			"rs/web -n shop gets no new pods: " + quota},
		"a Job": {false, []runtime.Object{&batchv1.Job{ObjectMeta: named("u")}, event("u", quota)},
			"job/web -n shop gets no new pods: " + quota},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			if !test.meshed {
				removePods(f)
			}
			f.objects = append(f.objects, test.objects...)
			asked := 0
			connect := func(flags globalFlags) (*cluster.Client, error) { asked++; return f.connect(flags) }
			r := runCLI(t, connect, "", "-n", "shop", "check", "--proxy", "--wait=1m", "-o", "short")
			if r.code != 1 || asked != 1 || !strings.Contains(r.out, test.want) {
				t.Errorf("exit code %d after %d readings; want 1 after 1 and %q:\n%s", r.code, asked, test.want, r.out)
			}
		})
	}
}

// An event outlives what it reports: pods that came after it show that pods are admitted again.
func TestCheckForgetsRefusalsOfTheStatefulSetsFirstTry(t *testing.T) {
	f := healthyCluster(t)
	controller := true
	db := metav1.ObjectMeta{Name: "db", Namespace: "shop", UID: "db-uid"}
	f.objects = append(f.objects,
		&appsv1.StatefulSet{ObjectMeta: db},
		&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "db.1", Namespace: "shop"},
			InvolvedObject: corev1.ObjectReference{UID: db.UID},
			Reason:         "FailedCreate", Message: "no injector answered", LastTimestamp: metav1.Unix(1, 0)},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-0", Namespace: "shop", CreationTimestamp: metav1.Unix(2, 0),
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "db", UID: db.UID, Controller: &controller}}}})
	if r := runCLI(t, f.connect, "", "check", "--proxy", "--wait=0s", "-o", "short"); strings.Contains(r.out,
		"gets no new pods") {
		t.Errorf("check reports a refusal that is over:\n%s", r.out)
	}
}

// refusedDeployment is a deployment of namespace shop whose pods the API server does not take.
func refusedDeployment(name string) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "violates PodSecurity"},
		}},
	}
}

// TestCheckWithoutRightsToReplicaSetsAndJobs loses nothing but these kinds where the user may not list them.
func TestCheckWithoutRightsToReplicaSetsAndJobs(t *testing.T) {
	const unread = "workloads not looked at: you may not list replica sets and jobs"
	rollout := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Generation: 2},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 1}}
	for name, test := range map[string]struct {
		workload runtime.Object
		noPods   bool
		code     int
		want     string
	}{
		"nothing is wrong":       {nil, false, 0, unread},
		"a refused Deployment":   {refusedDeployment("web"), false, 1, "deploy/web -n shop gets no new pods"},
		"a rollout, but no pods": {rollout, true, 1, "no pod with a proxy found yet; deploy/web -n shop is being rolled out"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			f.mayNotLook = []string{"replicasets", "jobs"}
			if test.noPods {
				removePods(f)
			}
			if test.workload != nil {
				f.objects = append(f.objects, test.workload)
			}
			r := runCLI(t, f.connect, "", "-n", "shop", "check", "--proxy", "--wait=0s", "-o", "short")
			if r.code != test.code || !strings.Contains(r.out, test.want) || !strings.Contains(r.out, unread) ||
				strings.Contains(r.out, "not known") {
				t.Errorf("exit code %d, want %d; want %q and %q in\n%s%s", r.code, test.code, test.want, unread, r.out, r.err)
			}
		})
	}
}

// Between `kubectl rollout restart` and its first new pod, no pod has a proxy, but one will.
func TestCheckWaitsForProxiesThatARolloutIsToStart(t *testing.T) {
	for name, workload := range map[string]runtime.Object{
		"deploy/web": &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Generation: 2},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 1}},
		"sts/web": &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}},
		"ds/web": &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
			Status: appsv1.DaemonSetStatus{
				DesiredNumberScheduled: 1,
			}},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := healthyCluster(t), healthyCluster(t)
			removePods(before)
			before.objects = append(before.objects, workload)
			asked := 0
			connect := func(flags globalFlags) (*cluster.Client, error) {
				if asked++; asked == 1 {
					return before.connect(flags)
				}
				return after.connect(flags)
			}
			r := runCLI(t, connect, "", "-n", "shop", "check", "--proxy", "--wait=1m")
			if want := "no pod with a proxy found yet; " + name + " -n shop is being rolled out"; r.code != 0 || asked != 2 ||
				!strings.Contains(r.err, want) {
				t.Errorf("exit code %d after %d readings, stderr %q; want 0 after 2 and %q", r.code, asked, r.err, want)
			}
		})
	}
}

func TestCheckSeesClockSkew(t *testing.T) {
	f := emptyCluster()
	renewed := metav1.NewMicroTime(time.Now().Add(-10 * time.Minute))
	f.objects = append(f.objects, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", Namespace: corev1.NamespaceNodeLease},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &renewed},
	})
	if r := runCLI(t, f.connect, "", "check", "--pre"); r.code != 0 || !strings.Contains(r.out, "clock skew of 10m") {
		t.Errorf("exit code %d; want 0 and a warning:\n%s", r.code, r.out)
	}
}

func TestCheckNamesVersionsThatAreNotServed(t *testing.T) {
	f := healthyCluster(t)
	for i := range f.definitions {
		if d := &f.definitions[i]; d.Name() == "servers.policy.linkerd.io" {
			d.Served = []string{"v1beta1", "v1beta3"}
		}
	}
	r := runCLI(t, f.connect, "", "check", "--crds", "--wait=0s")
	for _, want := range []string{
		"√ the Gateway API's routes are served", "× control plane CustomResourceDefinitions exist\n",
		"    servers.policy.linkerd.io is not served in v1beta2\n",
	} {
		if !strings.Contains(r.out, want) || r.code != 1 {
			t.Errorf("exit code %d, stdout %q lacks %q", r.code, r.out, want)
		}
	}
}

func TestCheckAcceptsFlagsOfLinkerd(t *testing.T) {
	r := runCLI(t, noCluster, "", "check", "--crds", "--linkerd-cni-enabled", "--cni-namespace", "linkerd-cni",
		"--wait=0s")
	for _, want := range []string{
		"--linkerd-cni-enabled has no effect: there is no CNI plugin", "--cni-namespace has no effect",
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("stderr %q lacks %q", r.err, want)
		}
	}
	if !strings.Contains(r.out, "kubernetes-api") || strings.Contains(r.out, "tulle-existence") ||
		strings.Contains(r.out, "linkerd-existence") {
		t.Errorf("stdout %q: want the cluster's checks alone", r.out)
	}
}

// TestCheckWithoutRights covers what the user may not read: nothing is known of it, and check does not wait for it.
func TestCheckWithoutRights(t *testing.T) {
	for name, test := range map[string]struct {
		mayNotLook []string
		want       string
	}{
		"the namespace": {[]string{"namespaces"},
			"× not known: control plane Namespace exists\n    you may not look: namespaces is forbidden"},
		"the deployments": {[]string{"deployments"},
			"× not known: control plane deployments are ready\n    you may not look: deployments.apps is forbidden"},
		"the nodes": {[]string{"nodes"},
			"not known: cluster networks contains all node podCIDRs\n    you may not look: nodes is forbidden"},
		"a Secret": {[]string{"secrets"}, "you may not look: secrets is forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthyCluster(t)
			f.mayNotLook = test.mayNotLook
			r := runCLI(t, f.connect, "", "check", "--wait=1h")
			if r.code != 1 || !strings.Contains(r.out, test.want) || strings.Contains(r.err, "waiting") {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %q", r.code, r.out, r.err, test.want)
			}
		})
	}
}

// TestCheckReport: the dashboard's values say what -o json says, and have the certificates of the same reading.
func TestCheckReport(t *testing.T) {
	f := healthyCluster(t)
	report := check.Look(t.Context(), check.Options{Version: version, Render: manifests.Render,
		ControlNamespace: "tulle", Log: io.Discard,
		Connect: func() (*cluster.Client, error) { return f.connect(globalFlags{}) }})
	var doc struct {
		Categories []struct {
			CategoryName string
			Checks       []struct{ Description, Hint, Error, Result string }
		}
	}
	r := runCLI(t, f.connect, "", "check", "-o", "json", "--wait=0s")
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	if len(doc.Categories) != len(report.Groups) {
		t.Fatalf("%d groups, want %d", len(report.Groups), len(doc.Categories))
	}
	for i, cat := range doc.Categories {
		for j, want := range cat.Checks {
			got := report.Groups[i].Checks[j]
			if got != (check.Answer{Text: want.Description, Result: want.Result, Message: want.Error, Hint: want.Hint}) {
				t.Errorf("%s: got %+v, want %+v", cat.CategoryName, got, want)
			}
		}
	}
	var parts []string
	for _, c := range report.Certificates {
		parts = append(parts, c.Part)
		if c.Err != nil || c.Name == "" || c.Serial == "" || !c.To.After(c.From) {
			t.Errorf("got %+v", c)
		}
	}
	if want := []string{check.TrustAnchor, check.Issuer, check.Injector}; !slices.Equal(parts, want) {
		t.Errorf("certificates of %v, want %v", parts, want)
	}
}
