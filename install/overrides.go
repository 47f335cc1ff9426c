package install

import (
	"errors"

	"github.com/tulle-mesh/tulle/install/chart"
	"github.com/tulle-mesh/tulle/install/values"
)

// schema is that of the control plane's values.
var schema = &values.Schema{
	Defaults: chart.DefaultValues, HA: chart.HAValues,
	Open:    []string{"nodeSelector", "podAnnotations", "podLabels"},
	Ignored: linkerdOnly, Documented: "docs/cli.md#values-of-install", Credentials: "identity.issuer.tls",
	New: func() any { return new(Values) },
}

// Overrides collects changes to the default values. A later one wins over an earlier one.
type Overrides struct{ *values.Overrides }

// NewOverrides returns overrides that change nothing yet.
func NewOverrides() *Overrides { return &Overrides{values.New(schema)} }

// Values returns the defaults with all overrides applied, and warnings about keys that have no effect here. It does not
// validate the values. With ErrIssuerNotStored it returns values that lack the issuer alone.
func (o *Overrides) Values() (Values, []string, error) {
	v := Defaults()
	warnings, err := o.Apply(&v)
	if err != nil {
		return Values{}, nil, err
	}
	if o.Reused() && v.lacksIssuer() {
		return v, warnings, ErrIssuerNotStored
	}
	return v, warnings, nil
}

// ErrIssuerNotStored names what Reuse cannot find: an issuer's key must not be readable with the values.
var ErrIssuerNotStored = errors.New(
	"the installation has certificates of its own, and the issuer's key is not kept in the " +
		"cluster's values: give all three flags again: --identity-trust-anchors-file, --identity-issuer-certificate-file " +
		"and " +
		"--identity-issuer-key-file")

// lacksIssuer reports whether the installation uses the user's own issuer and the values do not have it.
func (v *Values) lacksIssuer() bool {
	own := v.Identity.Issuer.Scheme != ExternalIssuer && (v.IdentityTrustAnchorsPEM != "" || v.Identity.ExternalCA)
	return own && (v.Identity.Issuer.TLS.CrtPEM == "" || v.Identity.Issuer.TLS.KeyPEM == "")
}
