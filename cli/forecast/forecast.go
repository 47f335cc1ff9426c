package forecast

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Result says how much an item matters at the instant, in the words of `tulle check -o json`.
type Result string

// The results, from best to worst.
const (
	Fine    Result = "success"
	Warning Result = "warning"
	Error   Result = "error"
)

// State is what will have become of an item at the instant.
type State string

// The states of items.
const (
	Valid      State = "valid"
	Renewed    State = "renewed" // it renews itself before
	Unverified State = "unverified"
	Ended      State = "ended"
	NotYet     State = "not yet valid"
	Ignored    State = "ignored"
	NotKnown   State = "not known"
)

// Item is one thing that ends, and what will have become of it at the instant.
type Item struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	Result    Result `json:"result"`
	// Ends is the end of what exists now, and Renews is when it is to be renewed.
	Ends   *time.Time `json:"ends,omitempty"`
	Renews *time.Time `json:"renews,omitempty"`
	// Lines say why, what follows, and what to do.
	Lines []string `json:"lines,omitempty"`

	breaks *Break // what happens at the end if nobody acts; nil for nothing
}

// Break is the moment at which a part of the mesh stops working.
type Break struct {
	Time        time.Time `json:"time"`
	Cause       string    `json:"cause"`
	Consequence string    `json:"consequence"`
	Hit         []Hit     `json:"hit"`
}

// Hit is a workload that a break hits, with the number of its pods. A break that hits the new pods of a namespace has
// neither.
type Hit struct {
	Namespace string `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Pods      int    `json:"pods,omitempty"`
}

// Forecast is the state of the mesh at an instant, if nobody changes anything.
type Forecast struct {
	Now     time.Time `json:"now"`
	At      time.Time `json:"at"`
	Success bool      `json:"success"`
	// FirstBreak is the first of all, also if it is after the instant; nil if none is known.
	FirstBreak *Break `json:"firstBreak"`
	Items      []Item `json:"items"`
}

// renewalSlack is how late a renewal may be before it counts as missed: retries and clocks take time.
const renewalSlack = 10 * time.Minute

// Evaluate returns the forecast for the instant at.
func Evaluate(f Facts, at time.Time) Forecast {
	out := Forecast{Now: f.Now.UTC().Round(0), At: at, Success: true, Items: []Item{}}
	add := func(items ...Item) { out.Items = append(out.Items, items...) }
	end, cause := f.authorityEnd()
	for _, a := range f.Anchors {
		add(f.anchor(a, at))
	}
	if len(f.Issuer) > 0 {
		add(f.issuer(at, end, cause))
	}
	for _, w := range f.Webhooks {
		add(f.webhook(w, at))
	}
	add(f.leafs(at, end)...)
	for _, d := range f.Dated {
		add(dated(d, at))
	}
	for _, u := range f.Unknown {
		add(Item{Kind: u.Part, State: NotKnown, Result: Error, Lines: []string{u.Reason}})
	}
	for _, item := range out.Items {
		out.Success = out.Success && item.Result != Error
		if b := item.breaks; b != nil && (out.FirstBreak == nil || b.Time.Before(out.FirstBreak.Time)) {
			out.FirstBreak = b
		}
	}
	return out
}

// authorityEnd returns when nobody can issue certificates anymore that peers trust, and what ends then. Zero is not
// known.
func (f *Facts) authorityEnd() (time.Time, string) {
	if len(f.Issuer) == 0 {
		return time.Time{}, ""
	}
	if f.renewsIssuer() {
		return f.OwnAnchor.NotAfter, "trust anchor " + nameOf(f.OwnAnchor)
	}
	end, cause := time.Time{}, "" // of the anchors above the issuer, the one that lasts longest
	for _, a := range f.Anchors {
		if signs(a, f.Issuer) && a.NotAfter.After(end) {
			end, cause = a.NotAfter, "trust anchor "+nameOf(a)
		}
	}
	if !f.Own && f.Renewer != "" {
		return end, cause
	}
	for _, c := range f.Issuer {
		if end.IsZero() || c.NotAfter.Before(end) {
			end, cause = c.NotAfter, "issuer "+nameOf(c)
		}
	}
	return end, cause
}

// renewsIssuer reports whether the identity controller can renew the issuer, and is not late.
func (f *Facts) renewsIssuer() bool {
	return f.Own && f.OwnAnchor != nil && !f.Now.After(renewal(f.Issuer[0], 2, 3).Add(renewalSlack))
}

// renewal returns when num/den of a certificate's life are over.
func renewal(c *x509.Certificate, num, den int64) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(life / time.Duration(den) * time.Duration(num))
}

// signs reports whether a chain leads to the anchor, at a time when all of it was valid.
func signs(anchor *x509.Certificate, chain []*x509.Certificate) bool {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: anchor.NotBefore}
	opts.Roots.AddCert(anchor)
	for _, c := range chain {
		if c.NotBefore.After(opts.CurrentTime) {
			opts.CurrentTime = c.NotBefore
		}
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opts)
	return err == nil
}

func nameOf(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if name == "" && len(c.DNSNames) > 0 {
		name = c.DNSNames[0]
	}
	return fmt.Sprintf("%q (serial %x)", name, c.SerialNumber)
}

const noIdentity = "no proxy gets a certificate that others trust, and handshakes between proxies fail"

// anchor evaluates one anchor of the bundle.
func (f *Facts) anchor(a *x509.Certificate, at time.Time) Item {
	item := Item{Kind: "trust anchor", Name: nameOf(a), State: Valid, Result: Fine, Ends: new(a.NotAfter.UTC())}
	needed := len(f.Issuer) > 0 && (f.renewsIssuer() && a.Equal(f.OwnAnchor) || !f.renewsIssuer() && f.lastAnchor(a))
	if needed {
		item.breaks = &Break{Time: a.NotAfter.UTC(), Cause: "trust anchor " + item.Name + " ends", Consequence: noIdentity,
			Hit: f.hitAll()}
	}
	switch {
	case at.Before(a.NotBefore):
		item.State, item.Result = NotYet, Warning
		item.say("is not valid before %s", stamp(a.NotBefore))
	case at.Before(a.NotAfter) && needed:
		item.say("lasts until %s and does not renew itself", stamp(a.NotAfter))
	case at.Before(a.NotAfter):
		item.say("lasts until %s", stamp(a.NotAfter))
	case needed:
		item.State, item.Result = Ended, Error
		item.say("ends on %s and does not renew itself", stamp(a.NotAfter))
		item.say("from then on %s", noIdentity)
		item.say("replace it before: tulle identity rotate")
	default:
		item.State, item.Result = Ended, Warning
		item.say("ends on %s; the issuer does not need it, so it can be dropped when no proxy has a certificate under it",
			stamp(a.NotAfter))
	}
	return item
}

// lastAnchor reports whether the issuer verifies under the anchor, and under none that lasts longer.
func (f *Facts) lastAnchor(a *x509.Certificate) bool {
	return signs(a, f.Issuer) && !slices.ContainsFunc(f.Anchors, func(b *x509.Certificate) bool {
		return b.NotAfter.After(a.NotAfter) && signs(b, f.Issuer)
	})
}

// issuer evaluates the issuer. end is when the authority ends, for the cause.
func (f *Facts) issuer(at, end time.Time, cause string) Item {
	c := f.Issuer[0]
	item := Item{Kind: "issuer", Name: nameOf(c), State: Valid, Result: Fine, Ends: new(c.NotAfter.UTC())}
	due := renewal(c, 2, 3).UTC()
	switch {
	case !slices.ContainsFunc(f.Anchors, func(a *x509.Certificate) bool { return signs(a, f.Issuer) }):
		item.State, item.Result = Ended, Error
		item.say("no trust anchor of the bundle signs it, so nobody trusts the certificates that it issues")
		item.breaks = &Break{Time: f.Now.UTC(), Cause: "issuer " + item.Name + " has no trust anchor in the bundle",
			Consequence: noIdentity, Hit: f.hitAll()}
	case f.renewsIssuer():
		item.Renews = &due
		item.say("is renewed on %s, by the identity controller, which must run, with the key in Secret "+
			"tulle-identity-trust-anchor", stamp(due))
		if !at.Before(due) {
			item.State = Renewed
		}
		if !at.Before(end) {
			item.State, item.Result = Ended, Error
			item.say("cannot be renewed beyond %s: %s ends then", stamp(end), cause)
		}
	case !f.Own && f.Renewer != "":
		item.say("ends on %s, and is renewed by %s as its Secret says; nothing here knows whether it will", stamp(c.NotAfter),
			f.Renewer)
		if !at.Before(c.NotAfter) {
			item.State, item.Result = Unverified, Warning
		}
		if !end.IsZero() && !at.Before(end) {
			item.State, item.Result = Ended, Error
			item.say("a renewed one ends with %s on %s", cause, stamp(end))
		}
	default:
		f.issuerThatEnds(&item, at, due)
	}
	return item
}

// issuerThatEnds evaluates an issuer that nobody renews.
func (f *Facts) issuerThatEnds(item *Item, at, due time.Time) {
	end := f.Issuer[0].NotAfter.UTC()
	for _, c := range f.Issuer[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter.UTC()
		}
	}
	item.breaks = &Break{Time: end, Cause: "issuer " + item.Name + " ends", Consequence: noIdentity, Hit: f.hitAll()}
	why, remedy := "is not renewed: it comes from outside", "write a new one into Secret tulle-identity-issuer before"
	switch {
	case f.Own && f.OwnAnchor == nil:
		why = "cannot be renewed: Secret tulle-identity-trust-anchor with the anchor's key does not exist"
		remedy = "restore the Secret, or make a new anchor: tulle identity rotate"
	case f.Own:
		why = fmt.Sprintf("was to be renewed on %s and is not", stamp(due))
		remedy = fmt.Sprintf("for the reason: kubectl -n %s logs deploy/tulle-identity", f.Namespace)
	}
	item.say("ends on %s and %s", stamp(end), why)
	switch {
	case !at.Before(end):
		item.State, item.Result = Ended, Error
		item.say("from then on %s", noIdentity)
		item.say("%s", remedy)
	case f.Own:
		item.Result = Warning
		item.say("%s", remedy)
	}
}

// webhook evaluates the certificate of a webhook. The server renews it after two thirds of its life.
func (f *Facts) webhook(w Webhook, at time.Time) Item {
	item := Item{Kind: "webhook certificate", Name: w.Name, State: Valid, Result: Fine, Ends: new(w.Leaf.NotAfter.UTC())}
	due := renewal(w.Leaf, 2, 3).UTC()
	late := f.Now.After(due.Add(renewalSlack))
	if w.Blocked == "" && !late {
		item.Renews = &due
		item.say("is renewed on %s by the injector, which must run", stamp(due))
		if !at.Before(due) {
			item.State = Renewed
		}
		return item
	}
	const consequence = "new pods get no proxy, or are refused where injection is required"
	item.breaks = &Break{Time: w.Leaf.NotAfter.UTC(), Cause: "the certificate of webhook " + w.Name + " ends",
		Consequence: consequence}
	for _, ns := range f.Injecting {
		item.breaks.Hit = append(item.breaks.Hit, Hit{Namespace: ns})
	}
	why := cmp.Or(w.Blocked, fmt.Sprintf("was to be renewed on %s and is not; for the reason: kubectl -n %s "+
		"logs deploy/tulle-proxy-injector", stamp(due), f.Namespace))
	item.say("ends on %s and %s", stamp(w.Leaf.NotAfter), why)
	item.Result = Warning
	if !at.Before(w.Leaf.NotAfter) {
		item.State, item.Result = Ended, Error
		item.say("from then on %s", consequence)
	}
	return item
}

func (i *Item) say(format string, args ...any) {
	i.Lines = append(i.Lines, fmt.Sprintf(format, args...))
}

// dated evaluates an annotation with a time.
func dated(d Dated, at time.Time) Item {
	item := Item{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name, State: Valid, Result: Fine}
	switch {
	case !d.Enforced:
		item.State, item.Result = Ignored, Warning
		item.say("annotation %s=%s has no effect: no proxy of this version reads it, so nothing begins or ends then",
			d.Annotation, d.Value)
		return item
	case d.Problem != "":
		item.State, item.Result = Ignored, Warning
		item.say("annotation %s: %s", d.Annotation, d.Problem)
		return item
	}
	item.Ends = new(d.At.UTC())
	item.say("its fault ends by itself on %s, by the clocks of the proxies (%s)", stamp(d.At), d.Annotation)
	if !at.Before(d.At) {
		item.State = Ended
	}
	return item
}
