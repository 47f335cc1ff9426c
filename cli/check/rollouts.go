package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// permanent is a failure that no waiting mends, of a check whose failures are transient otherwise.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// isTransient reports whether waiting may mend a failure. It does not where every part of the failure is permanent.
func isTransient(err error) bool {
	switch err := err.(type) {
	case nil, permanent:
		return false
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), isTransient)
	case interface{ Unwrap() error }:
		inner := err.Unwrap()
		return inner == nil || isTransient(inner)
	}
	return true
}

// rollout is a workload whose controller has pods of its present template yet to create.
type rollout struct {
	namespace, name string // name with its kind, as in deploy/web
	template        corev1.PodTemplateSpec
	refused         string // why the API server takes no pod of it; "" where nobody said so
}

// workloads are the objects that create pods.
type workloads struct {
	deployments *appsv1.DeploymentList
	stateful    *appsv1.StatefulSetList
	daemons     *appsv1.DaemonSetList
	replicas    *appsv1.ReplicaSetList
	jobs        *batchv1.JobList
	refused     map[types.UID]string // why the API server takes no pod of a workload
	unread      []string             // the kinds that the user may not list
}

// listWorkloads lists the workloads of namespace, or of all for "". ReplicaSets and Jobs that the user may not list are
// left out: roles often allow the other kinds alone, which say most.
func listWorkloads(ctx context.Context, cl *cluster.Client, namespace string, pods []corev1.Pod) (w workloads,
	err error) {
	apps, all := cl.AppsV1(), metav1.ListOptions{}
	if w.deployments, err = apps.Deployments(namespace).List(ctx, all); err != nil {
		return w, fmt.Errorf("list deployments: %w", err)
	}
	if w.stateful, err = apps.StatefulSets(namespace).List(ctx, all); err != nil {
		return w, fmt.Errorf("list stateful sets: %w", err)
	}
	if w.daemons, err = apps.DaemonSets(namespace).List(ctx, all); err != nil {
		return w, fmt.Errorf("list daemon sets: %w", err)
	}
	if w.replicas, err = apps.ReplicaSets(namespace).List(ctx, all); apierrors.IsForbidden(err) {
		w.replicas, w.unread = &appsv1.ReplicaSetList{}, append(w.unread, "replica sets")
	} else if err != nil {
		return w, fmt.Errorf("list replica sets: %w", err)
	}
	if w.jobs, err = cl.BatchV1().Jobs(namespace).List(ctx, all); apierrors.IsForbidden(err) {
		w.jobs, w.unread = &batchv1.JobList{}, append(w.unread, "jobs")
	} else if err != nil {
		return w, fmt.Errorf("list jobs: %w", err)
	}
	w.refused, err = failedCreates(ctx, cl, namespace, pods)
	return w, err
}

// progress is how far a controller has come with a workload's present template.
type progress struct {
	observed      int64 // generation
	updated, want int32 // pods
}

// rollouts are what is known of the workloads that are about to create pods.
type rollouts struct {
	found  []rollout
	unread []string // the kinds of workloads that the user may not list
}

// listRollouts returns the workloads of namespace, or of all for "", whose controllers are about to create pods. Those
// that wait for a person, because they are paused or replace only what is deleted, are not.
func listRollouts(ctx context.Context, cl *cluster.Client, namespace string, pods []corev1.Pod) (rollouts, error) {
	w, err := listWorkloads(ctx, cl, namespace, pods)
	if err != nil {
		return rollouts{}, err
	}
	var found []rollout
	add := func(o metav1.ObjectMeta, kind string, template corev1.PodTemplateSpec, p progress, refused string) {
		if p.observed < o.Generation || p.updated < p.want {
			found = append(found, rollout{o.Namespace, kind + "/" + o.Name, template, refused})
		}
	}
	for _, d := range w.deployments.Items {
		if !d.Spec.Paused {
			p := progress{d.Status.ObservedGeneration, d.Status.UpdatedReplicas, wanted(d.Spec.Replicas)}
			add(d.ObjectMeta, "deploy", d.Spec.Template, p, replicaFailure(&d))
		}
	}
	for _, s := range w.stateful.Items {
		p := progress{s.Status.ObservedGeneration, s.Status.UpdatedReplicas, wanted(s.Spec.Replicas)}
		if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
			p.updated = s.Status.Replicas
		}
		add(s.ObjectMeta, "sts", s.Spec.Template, p, w.refused[s.UID])
	}
	for _, d := range w.daemons.Items {
		p := progress{d.Status.ObservedGeneration, d.Status.UpdatedNumberScheduled, d.Status.DesiredNumberScheduled}
		if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
			p.updated = d.Status.CurrentNumberScheduled
		}
		add(d.ObjectMeta, "ds", d.Spec.Template, p, w.refused[d.UID])
	}
	for _, r := range w.replicas.Items {
		if metav1.GetControllerOf(&r) == nil {
			p := progress{r.Status.ObservedGeneration, r.Status.Replicas, wanted(r.Spec.Replicas)}
			add(r.ObjectMeta, "rs", r.Spec.Template, p, w.refused[r.UID])
		}
	}
	for _, j := range w.jobs.Items {
		// A Job without pods and without a refusal may just have ended.
		if why := w.refused[j.UID]; why != "" && j.Status.CompletionTime == nil && j.Status.Active == 0 {
			add(j.ObjectMeta, "job", j.Spec.Template, progress{j.Generation, 0, wanted(j.Spec.Parallelism)}, why)
		}
	}
	return rollouts{found, w.unread}, nil
}

// failedCreates returns the message of the last event about a pod that the API server refused, by workload.
// StatefulSets and DaemonSets have no condition for it. An event that is older than one of the workload's pods is out
// of date.
func failedCreates(
	ctx context.Context, cl *cluster.Client, namespace string, pods []corev1.Pod,
) (map[types.UID]string, error) {
	events, err := cl.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	messages, last := map[types.UID]string{}, map[types.UID]metav1.Time{}
	for _, e := range events.Items {
		uid := e.InvolvedObject.UID
		if at := last[uid]; e.Reason == "FailedCreate" && !e.LastTimestamp.Before(&at) {
			messages[uid], last[uid] = e.Message, e.LastTimestamp
		}
	}
	for _, pod := range pods {
		if owner := metav1.GetControllerOf(&pod); owner != nil && !pod.CreationTimestamp.Time.Before(last[owner.UID].Time) {
			delete(messages, owner.UID)
		}
	}
	return messages, nil
}

// replicaFailure returns why a deployment cannot create pods.
func replicaFailure(d *appsv1.Deployment) string {
	for _, cond := range d.Status.Conditions {
		if cond.Type == appsv1.DeploymentReplicaFailure && cond.Status == corev1.ConditionTrue {
			return cond.Message
		}
	}
	return ""
}

// wanted returns the number of replicas that a field asks for; the API's default is 1.
func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// askRollouts says which workloads that are to be injected get no pods, and, where no pod has a proxy, whether there is
// something to wait for: there is only while such a workload has pods to create.
func askRollouts(f *facts, meshed bool) error {
	if err := errors.Join(f.namespaces.err, f.rollouts.err); err != nil {
		return err
	}
	var errs []error
	namespaces, waiting := f.injectNamespaces(), ""
	for _, r := range f.rollouts.value.found {
		pod := &corev1.Pod{ObjectMeta: r.template.ObjectMeta, Spec: r.template.Spec}
		switch {
		case r.namespace == f.namespace || inject.Decide(namespaces[r.namespace], pod).Action == inject.Skip:
		case r.refused != "":
			errs = append(errs, refusal(r))
		case waiting == "":
			waiting = fmt.Sprintf("%s -n %s", r.name, r.namespace)
		}
	}
	switch {
	case meshed || errs != nil:
		return errors.Join(errs...)
	case waiting != "":
		return fmt.Errorf("no pod with a proxy found yet; %s is being rolled out", waiting)
	default:
		return permanent{f.withoutProxies(namespaces)}
	}
}

// addUnread adds to the failure of a check which kinds of workloads nobody has looked at. Alone this is worth a
// warning.
func addUnread(err error, unread []string) error {
	if unread == nil {
		return err
	}
	note := permanent{fmt.Errorf("workloads not looked at: you may not list %s", strings.Join(unread, " and "))}
	if err == nil {
		return minor{note}
	}
	return errors.Join(err, note)
}

// refusal says why a workload gets no pods. What the API server forbids stays so until somebody changes the pods or
// what they may be; a webhook that does not answer, and a ServiceAccount that is about to be made, do not.
func refusal(r rollout) error {
	err := fmt.Errorf("%s -n %s gets no new pods: %s", r.name, r.namespace, r.refused)
	for _, transient := range []string{"failed calling webhook", "error looking up service account",
		"unable to create new content", "timeout", "timed out"} {
		if strings.Contains(r.refused, transient) {
			return err
		}
	}
	return permanent{err}
}

// withoutProxies says what would give the scope its first proxy.
func (f *facts) withoutProxies(namespaces map[string]inject.Namespace) error {
	ns := f.scope
	switch {
	case ns == "":
		asked := slices.DeleteFunc(sorted(namespaces), func(name string) bool {
			return inject.Decide(namespaces[name], &corev1.Pod{}).Action != inject.Inject
		})
		if len(asked) == 0 {
			return fmt.Errorf("no pod with a proxy found in any namespace, and none asks for proxies: kubectl annotate "+
				"namespace NS %s=enabled, "+
				"then kubectl -n NS rollout restart deploy", mesh.InjectAnnotation)
		}
		return fmt.Errorf("no pod with a proxy found in any namespace; proxies are asked for in %s: start workloads "+
			"there, or restart those that run: "+
			"kubectl -n NS rollout restart deploy", cluster.Abbreviate(asked))
	case ns == f.namespace:
		return fmt.Errorf("namespace %s is the control plane's, whose pods need no proxy: say -n and a namespace of "+
			"applications, or nothing for all", ns)
	}
	pods := 0
	f.eachPod(func(*corev1.Pod) { pods++ })
	asks := inject.Decide(namespaces[ns], &corev1.Pod{}).Action == inject.Inject
	says, annotate := "which does not ask for proxies", fmt.Sprintf("kubectl annotate namespace %s %s=enabled", ns,
		mesh.InjectAnnotation)
	if value, ok := namespaces[ns].Annotations[mesh.InjectAnnotation]; ok {
		says = fmt.Sprintf("whose annotation %s is %.63q", mesh.InjectAnnotation, value)
		annotate = fmt.Sprintf("kubectl annotate --overwrite namespace %s %s=enabled", ns, mesh.InjectAnnotation)
	}
	restart := fmt.Sprintf("kubectl -n %s rollout restart deploy", ns)
	switch {
	case pods == 0 && asks:
		return fmt.Errorf("there are no pods in namespace %s; those that start get a proxy", ns)
	case pods == 0:
		return fmt.Errorf("there are no pods in namespace %s, %s: %s", ns, says, annotate)
	case asks:
		return fmt.Errorf("no pod with a proxy found in namespace %s, which asks for proxies; pods get theirs when they "+
			"start: %s", ns, restart)
	default:
		return fmt.Errorf("no pod with a proxy found in namespace %s, %s: %s, then %s", ns, says, annotate, restart)
	}
}

// injectNamespaces returns what decides about injection of each namespace.
func (f *facts) injectNamespaces() map[string]inject.Namespace {
	namespaces := map[string]inject.Namespace{}
	for _, ns := range f.namespaces.value.Items {
		namespaces[ns.Name] = inject.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	}
	return namespaces
}
