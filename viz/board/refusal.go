package board

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/rights"
)

// The codes of a Refusal.
const (
	Forbidden   = "forbidden"
	NotFound    = "not_found"
	Unavailable = "unavailable"
	BadRequest  = "bad_request"
)

// Refusal is why a page has no value, and what the viewer can do. Its texts are plain text, never HTML. Code is one of
// the codes above.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Remedy is a sentence in which backticks mark commands; "" if the message already says what to do.
	Remedy string `json:"remedy"`
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Refuse returns the Refusal of an error of a page. An error that it does not know is Unavailable. err must not be nil.
func Refuse(err error) *Refusal {
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, rights.ErrTooMany):
		return &Refusal{Forbidden, err.Error(), "Choose one namespace, or ask an administrator for the right to list the " +
			"pods of every namespace."}
	case apierrors.IsForbidden(err):
		return &Refusal{Forbidden, err.Error(),
			"Choose a namespace that you may read, or ask an administrator for the right."}
	case errors.Is(err, resource.ErrNotFound), apierrors.IsNotFound(err):
		return &Refusal{NotFound, err.Error(), "Check the name, or choose another namespace."}
	case apierrors.IsUnauthorized(err):
		return &Refusal{Forbidden, err.Error(),
			"Log in to the cluster again, and then open the dashboard again."}
	}
	return &Refusal{Unavailable, err.Error(),
		"The page continues as soon as there is an answer. `tulle viz check` says more."}
}
