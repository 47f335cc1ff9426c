package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiversion "k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
	"github.com/tulle-mesh/tulle/mesh"
)

// fakeCluster is a cluster in memory; the only fake behind the CLI's tests.
type fakeCluster struct {
	objects []runtime.Object
	// mayNot lists the resources that the user may not create, mayNotLook those that they may not read.
	mayNot     map[string]bool
	mayNotLook []string
	apiVersion string
	// definitions are the cluster's, and resources what they define; made of them are its custom resources.
	definitions []install.Definition
	resources   []*metav1.PartialObjectMetadata
	// ports maps pod:port to the address of a real server on loopback.
	ports map[string]string
	// untyped are objects of custom kinds.
	untyped []*unstructured.Unstructured
	// unserved are resources that the cluster does not know.
	unserved []schema.GroupVersionResource
}

func (f *fakeCluster) connect(flags globalFlags) (*cluster.Client, error) {
	objects := make([]runtime.Object, len(f.objects))
	for i, o := range f.objects {
		objects[i] = o.DeepCopyObject()
	}
	client := fake.NewClientset(objects...)
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &apiversion.Info{GitVersion: f.apiVersion}
	client.PrependReactor("create", "selfsubjectaccessreviews",
		func(action clienttesting.Action) (bool, runtime.Object, error) {
			review := action.(clienttesting.CreateAction).GetObject().(*authzv1.SelfSubjectAccessReview)
			review.Status.Allowed = !f.mayNot[review.Spec.ResourceAttributes.Resource]
			return true, review, nil
		})
	for _, resource := range f.mayNotLook {
		client.PrependReactor("*", resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "",
				errors.New("the user has no rights"))
		})
	}
	client.Resources = servedResources(f.definitions)
	namespace := flags.namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	dial := func(ctx context.Context, _, pod string, port int) (net.Conn, error) {
		addr, ok := f.ports[fmt.Sprintf("%s:%d", pod, port)]
		if !ok {
			return nil, fmt.Errorf("nothing listens on port %d of %s", port, pod)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	return &cluster.Client{Interface: client, Dynamic: f.dynamic(), Metadata: f.metadata(), DialPod: dial,
		Namespace: namespace}, nil
}

// dynamic serves the same objects without their types, and those of kinds that only it knows.
func (f *fakeCluster) dynamic() *fakedynamic.FakeDynamicClient {
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range explain.Kinds() {
		for _, version := range k.Versions {
			lists[k.Resource(version)] = k.Name + "List"
		}
	}
	var objects []runtime.Object
	for _, o := range f.objects {
		kinds, _, err := scheme.Scheme.ObjectKinds(o)
		if err != nil {
			panic(err)
		}
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			panic(err)
		}
		u := &unstructured.Unstructured{Object: tree}
		u.SetGroupVersionKind(kinds[0])
		objects = append(objects, u)
	}
	for _, o := range f.untyped {
		objects = append(objects, o.DeepCopy())
	}
	client := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	client.PrependReactor("list", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if resource := action.GetResource(); slices.Contains(f.unserved, resource) {
			return true, nil, apierrors.NewNotFound(resource.GroupResource(), "")
		}
		return false, nil, nil
	})
	return client
}

// servedResources returns what discovery says of definitions.
func servedResources(definitions []install.Definition) []*metav1.APIResourceList {
	var lists []*metav1.APIResourceList
	for _, d := range definitions {
		for _, v := range d.Served {
			gv := schema.GroupVersion{Group: d.Resource.Group, Version: v}.String()
			i := slices.IndexFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == gv })
			if i < 0 {
				i, lists = len(lists), append(lists, &metav1.APIResourceList{GroupVersion: gv})
			}
			lists[i].APIResources = append(lists[i].APIResources, metav1.APIResource{Name: d.Resource.Resource})
		}
	}
	return lists
}

// metadata returns the client of the definitions and of the custom resources.
func (f *fakeCluster) metadata() metadata.Interface {
	known := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(known); err != nil {
		panic(err)
	}
	var objects []runtime.Object
	for _, d := range f.definitions {
		object := &metav1.PartialObjectMetadata{}
		if err := yaml.Unmarshal(d.Manifest, object); err != nil {
			panic(err)
		}
		objects = append(objects, object)
	}
	for _, r := range f.resources {
		objects = append(objects, r)
	}
	return metadatafake.NewSimpleMetadataClient(known, objects...)
}

// find returns the cluster's object of a type and name, to change it.
func find[T runtime.Object](t *testing.T, f *fakeCluster, name string) T {
	t.Helper()
	for _, o := range f.objects {
		if typed, ok := o.(T); ok && any(typed).(metav1.Object).GetName() == name {
			return typed
		}
	}
	t.Fatalf("no object %q", name)
	panic("unreachable")
}

// emptyCluster has a node and nothing else.
func emptyCluster() *fakeCluster {
	return &fakeCluster{apiVersion: "v1.36.3", objects: []runtime.Object{
		&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"kubernetes.io/os": "linux"}},
			Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.244.0.0/24"}},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady,
				Status: corev1.ConditionTrue}}},
		},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
	}}
}

// healthyCluster has a running installation and two meshed pods in namespace shop.
func healthyCluster(t *testing.T) *fakeCluster {
	t.Helper()
	f := emptyCluster()
	stream, err := manifests.Render(install.Defaults(), install.Target{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	decoder := scheme.Codecs.UniversalDeserializer()
	for _, doc := range install.Documents(stream) {
		obj, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.objects = append(f.objects, obj)
		if d, ok := obj.(*appsv1.Deployment); ok {
			d.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
			f.objects = append(f.objects, podOf(d))
		}
	}
	if f.definitions, err = install.Definitions(install.Target{Version: version}); err != nil {
		t.Fatal(err)
	}
	f.objects = append(f.objects, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}},
	})
	f.addCertificates(t)
	f.objects = append(f.objects, meshedPod(t, "web-1", "10.244.0.11"), meshedPod(t, "web-2", "10.244.0.12"))
	for _, pod := range []string{"web-1", "web-2"} {
		serveMetrics(t, f, pod+":4191", linkMetrics(1, 7, 0))
	}
	return f
}

func podOf(d *appsv1.Deployment) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name + "-0", Namespace: d.Namespace, Labels: d.Spec.Template.Labels},
		Spec:       d.Spec.Template.Spec,
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.244.0.2"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

// meshedPod is what the injector makes of a pod of one container, running.
func meshedPod(t *testing.T, name, ip string) *corev1.Pod {
	t.Helper()
	controller := true
	bare := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name),
			Labels: map[string]string{"app": "web"}, OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d8f", UID: "web-5d8f", Controller: &controller}}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1",
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
	}
	settings, err := inject.ParseSettings(inject.Defaults(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pod, _, err := inject.Apply(bare, settings, inject.Decision{Action: inject.Inject}, "shop",
		inject.Owner{Kind: "Deployment", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}},
		InitContainerStatuses: []corev1.ContainerStatus{{Name: mesh.ProxyContainer, Ready: true}},
	}
	return pod
}

// addCertificates adds what the identity controller and the injector make when they start.
func (f *fakeCluster) addCertificates(t *testing.T) {
	t.Helper()
	anchor, err := ca.NewAnchor("cluster.local", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := ca.NewIssuer(anchor, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.objects = append(f.objects, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: mesh.IssuerSecret, Namespace: "tulle"},
		Data:       map[string][]byte{"crt.pem": issuer.CertPEM, "key.pem": issuer.KeyPEM},
	})
	for _, ns := range []string{"default", "tulle", "shop"} {
		f.objects = append(f.objects, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: mesh.TrustRootsConfigMap, Namespace: ns,
				Labels: map[string]string{mesh.ControlPlaneNSLabel: "tulle"}},
			Data: map[string]string{mesh.TrustRootsKey: string(anchor.CertPEM)},
		})
	}
	cert := webhookCertificate(t)
	f.objects = append(f.objects, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: mesh.InjectorSecret, Namespace: "tulle"},
		Data:       map[string][]byte{corev1.TLSCertKey: cert},
	})
	hooks := find[*admissionv1.MutatingWebhookConfiguration](t, f, mesh.WebhookConfiguration).Webhooks
	for i := range hooks {
		hooks[i].ClientConfig.CABundle = cert
	}
}

func webhookCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"tulle-proxy-injector.tulle.svc"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
