package discovery

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reason says in a word why a stream was refused or ended. The words are label values of tulle_discovery_refusals_total
// and begin the message that the peer gets.
type reason string

const (
	noIdentity     reason = "no_identity"     // the connection proves no identity of the mesh
	noHello        reason = "no_hello"        // the first message is not Hello, or did not come in time
	wrongNamespace reason = "wrong_namespace" // Hello names another namespace than the certificate
	// the pod runs as another ServiceAccount than the certificate says
	wrongServiceAccount reason = "wrong_service_account"
	unknownPod          reason = "unknown_pod"          // the pod is not known, or not yet on that node
	tooManyConnections  reason = "too_many_connections" // of one address, or of all together
	tooManyStreams      reason = "too_many_streams"
	tooManyWatches      reason = "too_many_watches"
	badRequest          reason = "bad_request"
)

var reasons = []reason{
	noIdentity, noHello, wrongNamespace, wrongServiceAccount, unknownPod, tooManyConnections, tooManyStreams,
	tooManyWatches,
	badRequest,
}

// refusal is an error that the peer caused.
type refusal struct {
	reason  reason
	code    codes.Code
	message string
}

func (r *refusal) Error() string { return string(r.reason) + ": " + r.message }

// GRPCStatus makes the refusal the status that the peer gets.
func (r *refusal) GRPCStatus() *status.Status { return status.New(r.code, r.Error()) }

func refuse(why reason, code codes.Code, format string, args ...any) error {
	return &refusal{why, code, fmt.Sprintf(format, args...)}
}

func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}
