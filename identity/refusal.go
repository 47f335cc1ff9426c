package identity

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Refusal is the reason why a request gets no certificate. Code is the gRPC code. The counter, the log and the message
// to the caller all use the word Reason.
type Refusal struct {
	Code   codes.Code
	Reason string
	Err    error
}

func refuse(code codes.Code, reason, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Reason: reason, Err: fmt.Errorf(format, args...)}
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// GRPCStatus returns the status that a gRPC client sees.
func (r *Refusal) GRPCStatus() *status.Status { return status.New(r.Code, r.Error()) }

// The reasons of refusals.
const (
	reasonAddressLimit  = "rate_limited_address"
	reasonIdentityLimit = "rate_limited_identity"
	reasonGlobalLimit   = "rate_limited_global"
	reasonConnections   = "too_many_connections"
	reasonBusy          = "too_many_in_flight"
	reasonTokenMissing  = "token_missing"
	reasonTokenInvalid  = "token_invalid"
	reasonTokenAudience = "token_wrong_audience"
	reasonTokenUser     = "token_not_a_service_account"
	reasonTokenUnbound  = "token_not_bound_to_a_pod"
	reasonReviewFailed  = "token_review_unavailable"
	reasonRequest       = "request_malformed"
	reasonForeignName   = "request_names_somebody_else"
	reasonIssuerMissing = "issuer_missing"
	reasonIssuerExpired = "issuer_expired"
	reasonIssue         = "issue_failed"
)
