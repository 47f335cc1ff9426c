package analyze

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

// checkOutcomes reports what the destination controller would write to the status of each object. The controller's own
// code decides: what routes, Servers and policies mean is said in controller/model alone.
func checkOutcomes(w *World) {
	store := model.New(model.Config{
		TrustDomain: w.domain(), ClusterDomain: w.domain(), ControlPlaneNamespace: mesh.ControlPlaneNamespace,
		DefaultPolicy: mesh.AllUnauthenticated,
	})
	objects := map[model.ObjectRef]*object{}
	for i, o := range w.objects {
		into, ok := w.decoded(o, i)
		if !ok {
			continue
		}
		// Its problems are left out: checkAnnotations and the outcomes say the same.
		store.Apply(model.Event{Object: into, At: w.Now})
		objects[model.ObjectRef{Group: o.group, Kind: o.kind, Namespace: o.namespace, Name: o.name.name}] = o
	}
	if w.Partial {
		for _, parent := range w.standIns() {
			store.Apply(model.Event{Object: parent, At: w.Now})
		}
	}
	for _, out := range store.Outcomes() {
		out.Object.UID = ""
		o := objects[out.Object]
		if o == nil {
			continue
		}
		if out.Result != nil {
			w.reportResult(o, *out.Result, reference{})
		}
		for _, p := range out.Parents {
			w.reportResult(o, p.Result, referenceOf(p.Ref))
		}
	}
}

// domain returns the cluster domain. Files may not say it but in the name of a ServiceProfile.
func (w *World) domain() string {
	if w.Domain != "" {
		return w.Domain
	}
	domain := mesh.DefaultClusterDomain
	w.each("ServiceProfile", func(o *object) {
		if _, _, ok := profileService(o.name.name); ok {
			domain = strings.SplitN(o.name.name, ".", 4)[3]
		}
	})
	return domain
}

// decoded returns an object as the controller reads it. ok is false for kinds that it does not read, and for an object
// that does not fit its kind: another check says so.
func (w *World) decoded(o *object, i int) (into metav1.Object, ok bool) {
	k, ok := kinds.Find(slices.Concat(kinds.Core(), kinds.Configuration()), o.group, o.kind)
	if !ok {
		return nil, false
	}
	into = k.New()
	data, err := json.Marshal(o.tree)
	if err != nil || json.Unmarshal(data, into) != nil {
		return nil, false
	}
	into.SetNamespace(o.namespace)
	if o.created == "" { // nobody has applied it yet: it is younger than what the cluster has
		into.SetCreationTimestamp(metav1.NewTime(w.Now))
	}
	if svc, isService := into.(*corev1.Service); isService && svc.Spec.ClusterIP == "" &&
		svc.Spec.Type != corev1.ServiceTypeExternalName {
		svc.Spec.ClusterIP = unusedAddress(i) // in place of the one that the API server will assign
	}
	return into, true
}

func referenceOf(ref gatewayv1.ParentReference) (out reference) {
	data, err := json.Marshal(ref)
	if err == nil {
		_ = json.Unmarshal(data, &out)
	}
	return out
}

// reportResult reports the findings about an object, or about a route at one parent.
func (w *World) reportResult(o *object, r model.Result, parent reference) {
	for _, f := range r.Findings {
		severity, text := Error, f.String()
		switch f.Severity {
		case compile.Ignored:
			severity = Warning
		case compile.Invalid:
			text = compile.Join(text, r.Effect)
		}
		code, certain := w.codeOf(o, f, parent)
		if w.Partial && !certain {
			continue
		}
		finding := Finding{Severity: severity, Code: code, Namespace: o.home(), Object: o.kind + "/" + o.name.name,
			Message: text}
		if !slices.Contains(w.findings, finding) { // a route says the same at each of its parents
			w.findings = append(w.findings, finding)
		}
		if code == codeOverlap {
			w.superseded = append(w.superseded, o)
		}
	}
}

// codeOverlap is the code of Servers that others take the place of.
const codeOverlap = "ServerOverlap"

// codeOf returns the code of a finding. certain is false where another object, which may be elsewhere, would change it.
func (w *World) codeOf(o *object, f compile.Finding, parent reference) (code string, certain bool) {
	switch f.Reason {
	case string(gatewayv1.RouteReasonNoMatchingParent):
		return w.codeOfParent(o, parent)
	case string(gatewayv1.RouteReasonBackendNotFound):
		if b := backendAt(o, f.Path); w.byName[name{"Service", b.in(o.namespace), b.Name}] != nil {
			return "BackendPort", true
		}
		return "BackendMissing", false
	case string(gatewayv1.RouteReasonRefNotPermitted):
		return "BackendNotGranted", false
	case string(gatewayv1.RouteReasonInvalidKind):
		return "BackendKind", true
	case model.ReasonNoTarget:
		return "TargetMissing", false
	case model.ReasonAuthenticationNotFound:
		return "AuthenticationMissing", false
	case model.ReasonRouteConflicted:
		return "RouteConflict", true
	case model.ReasonConflicted:
		if o.kind == "Server" {
			return codeOverlap, true
		}
		return "PolicyConflict", true
	case model.ReasonLimitExists:
		return "RateLimitConflict", true
	}
	switch {
	case o.kind == "AuthorizationPolicy" && f.Path == "spec.targetRef.name":
		return "TargetNamespace", true
	case o.kind == "ServiceProfile" && strings.HasSuffix(f.Path, "retryBudget"):
		return "BudgetWithoutRetries", true
	case strings.Contains(f.Path, ".filters"):
		return "FilterUnsupported", true
	case f.Severity == compile.Ignored:
		return "NoEffect", true
	}
	return "Invalid", true
}

// codeOfParent returns the code of a ServiceProfile or a route that is for no Service or Server.
func (w *World) codeOfParent(o *object, parent reference) (code string, certain bool) {
	if o.kind == "ServiceProfile" {
		service, namespace, ok := profileService(o.name.name)
		switch {
		case !ok || !strings.HasSuffix(o.name.name, ".svc."+w.domain()):
			return "ProfileName", true
		case w.byName[name{"Service", namespace, service}] == nil:
			return "ServiceMissing", false
		}
		return "ServiceHeadless", true
	}
	to := w.byName[name{parent.Kind, parent.in(o.namespace), parent.Name}]
	switch {
	case to == nil && !w.Partial:
		return "ParentMissing", false
	case to != nil && to.kind == "Service" && spec[serviceSpec](to).ClusterIP == "None":
		return "ParentHeadless", true
	}
	// Of files alone, a stand-in for an absent parent has every port that routes name: the reference itself is wrong.
	return "ParentPort", true
}

// element is a part of a JSON path in a list, such as rules[0].
var element = regexp.MustCompile(`^(\w+)\[(\d+)\]$`)

// backendAt returns the backend at a path of a route, such as spec.rules[0].backendRefs[1]; none where something else
// is there.
func backendAt(o *object, path string) (b reference) {
	var at any = o.tree
	for part := range strings.SplitSeq(path, ".") {
		m, _ := at.(map[string]any)
		parts := element.FindStringSubmatch(part)
		if parts == nil {
			at = m[part]
			continue
		}
		list, _ := m[parts[1]].([]any)
		i, err := strconv.Atoi(parts[2])
		if err != nil || i >= len(list) {
			return reference{}
		}
		at = list[i]
	}
	decode(at, &b)
	return b
}
