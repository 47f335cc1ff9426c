package check

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/cli/forecast"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// Outlook reads the cluster once and says what will have ended at an instant, if nobody changes anything.
func Outlook(ctx context.Context, opts Options, at time.Time) (forecast.Forecast, error) {
	opts.Dated = true
	f := gather(ctx, opts, nil)
	for _, err := range []error{ctx.Err(), f.client, f.version.err} {
		if err != nil {
			return forecast.Forecast{}, err
		}
	}
	return forecast.Evaluate(f.forForecast(), at), nil
}

// forForecast returns the facts that a forecast is made from. What could not be read is one of them.
func (f *facts) forForecast() forecast.Facts {
	out := forecast.Facts{Now: f.now, Namespace: f.namespace, Dated: f.dated.value}
	unknown := func(part string, err error) {
		if apierrors.IsForbidden(err) {
			err = errors.Join(errors.New("you may not look"), err)
		}
		if err != nil {
			out.Unknown = append(out.Unknown, forecast.Unknown{Part: part, Reason: err.Error()})
		}
	}
	var err error
	out.Anchors, err = anchors(f)
	unknown("trust anchors", err)
	out.Issuer, err = issuer(f)
	unknown("issuer", err)
	if err == nil {
		out.Own = installation.MadeHere(f.issuer.value)
		out.Renewer = renewer(f.issuer.value)
	}
	if out.Own {
		out.OwnAnchor, err = f.ownAnchor()
		unknown("Secret "+mesh.AnchorSecret, err)
	}
	served, err := injectorCertificate(f)
	unknown("webhook certificate", err)
	if len(served) > 0 {
		w := forecast.Webhook{Name: mesh.InjectorName, Leaf: served[0]}
		if err := mutable(f.injectorTLS.value); err != nil {
			w.Blocked = err.Error()
		}
		out.Webhooks = append(out.Webhooks, w)
	}
	unknown("proxies", f.pods.err)
	if f.pods.err == nil {
		out.Proxies = f.forecastProxies()
	}
	unknown("namespaces", f.namespaces.err)
	if f.namespaces.err == nil {
		for _, ns := range f.namespaces.value.Items {
			if a := ns.Annotations[mesh.InjectAnnotation]; f.inScope(ns.Name) && (a == "enabled" || a == "ingress") {
				out.Injecting = append(out.Injecting, ns.Name)
			}
		}
	}
	unknown("policies and routes", f.dated.err)
	return out
}

// ownAnchor returns the anchor with whose key the issuer is renewed; nil if it does not exist.
func (f *facts) ownAnchor() (*x509.Certificate, error) {
	if apierrors.IsNotFound(f.anchor.err) {
		return nil, nil
	}
	if f.anchor.err != nil {
		return nil, f.anchor.err
	}
	certs, _, err := install.ParseCertificates(string(f.anchor.value.Data[corev1.TLSCertKey]))
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// certManagerAnnotation is on Secrets that cert-manager writes. Source: cert-manager's reference of annotations.
const certManagerAnnotation = "cert-manager.io/certificate-name"

// renewer says what renews an issuer from outside, if its Secret says so.
func renewer(issuer *corev1.Secret) string {
	if name := issuer.Annotations[certManagerAnnotation]; name != "" {
		return "Certificate " + name + " of cert-manager"
	}
	return ""
}

func (f *facts) forecastProxies() (out []forecast.Proxy) {
	f.eachPod(func(pod *corev1.Pod) {
		if sidecar.Of(pod) == nil {
			return
		}
		p := forecast.Proxy{Namespace: pod.Namespace, Pod: pod.Name, Workload: "pod/" + pod.Name}
		if kind, name := podowner.Of(pod); name != "" {
			p.Workload = kind + "/" + name
		}
		if l, ok := f.links[pod.UID]; ok {
			p.Asked, p.Since, p.Until = true, l.since, l.until
			switch {
			case l.err != nil:
				p.Err = l.err.Error()
			case l.until.IsZero():
				p.Err = "it has no certificate"
			}
		}
		out = append(out, p)
	})
	return out
}

// datedKeys are the annotations that say when something begins or ends, and whether proxies heed them.
var datedKeys = map[string]bool{
	compile.FaultUntilAnnotation: true, "policy.tulle.dev/expires-at": false, "policy.tulle.dev/not-before": false,
}

// datedObjects returns the routes, Services and policies with such annotations.
func datedObjects(ctx context.Context, cl *cluster.Client, now time.Time) ([]forecast.Dated, error) {
	trees, err := explain.Objects(ctx, cl)
	if err != nil {
		return nil, err
	}
	var out []forecast.Dated
	for _, tree := range trees {
		o := unstructured.Unstructured{Object: tree}
		annotations := o.GetAnnotations()
		for _, key := range slices.Sorted(maps.Keys(datedKeys)) {
			value, ok := annotations[key]
			if !ok {
				continue
			}
			d := forecast.Dated{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Annotation: key,
				Value: value, Enforced: datedKeys[key]}
			at, err := compile.ParseUntil(value, now)
			if d.At = at; err != nil {
				d.Problem = err.Error() + "; no fault is injected"
			}
			out = append(out, d)
		}
	}
	return out, nil
}
