// Package forecast says what of a mesh will have ended at an instant.
//
// It owns how the end of each certificate and annotation follows from others: who renews it, under which condition, and
// who is hit when nobody does. It must not import Kubernetes or read a clock: it is a function over what somebody else
// collected. The one idea: what renews itself does so only as long as what it depends on lasts, so the first break of
// the mesh is the end of the first thing that nobody renews.
package forecast

import (
	"crypto/x509"
	"time"
)

// Facts are what a forecast is made from: one reading of a cluster.
type Facts struct {
	Now time.Time
	// Namespace is the control plane's.
	Namespace string
	// Anchors are the trust anchors of the bundle. Issuer is the issuer's certificate, and then its intermediates.
	Anchors, Issuer []*x509.Certificate
	// Own says that the identity controller made the issuer. It renews the issuer with the key of OwnAnchor, the anchor in
	// its Secret; nil if there is none.
	Own       bool
	OwnAnchor *x509.Certificate
	// Renewer says what renews an issuer from outside, if its Secret says so.
	Renewer  string
	Webhooks []Webhook
	Proxies  []Proxy
	// Injecting are the namespaces whose new pods get a proxy.
	Injecting []string
	Dated     []Dated
	// Unknown are the reasons why a part could not be read.
	Unknown []Unknown
}

// Webhook is a certificate that a webhook serves and renews.
type Webhook struct {
	Name string
	Leaf *x509.Certificate
	// Blocked says why it cannot be renewed; "" if it can.
	Blocked string
}

// Proxy is a pod with a proxy. Workload is kind/name, or pod/name for a pod of its own.
type Proxy struct {
	Namespace, Pod, Workload string
	// Asked says that the proxy was asked for its certificate. Err says why there was no answer.
	Asked bool
	Err   string
	// Since is when its certificate arrived, and Until is its end.
	Since, Until time.Time
}

// Dated is an object with an annotation that says when something begins or ends.
type Dated struct {
	Kind, Namespace, Name, Annotation, Value string
	// At is the time in the value; zero if Problem says why there is none.
	At      time.Time
	Problem string
	// Enforced says that proxies end it at that time by their own clock. Otherwise nothing reads the annotation.
	Enforced bool
}

// Unknown is a part that could not be read, and why.
type Unknown struct{ Part, Reason string }
