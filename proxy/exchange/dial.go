package exchange

import "errors"

// DialError is the error of an attempt to connect that names its fault.
type DialError struct{ Fault Fault }

func (e *DialError) Error() string { return e.Fault.String() }

// Unwrap returns the error behind the fault.
func (e *DialError) Unwrap() error { return e.Fault.Err }

// DialFault returns the fault of an attempt to connect that failed with err: that of a DialError, otherwise DialTimeout
// or DialRefused.
func DialFault(err error) Fault {
	var d *DialError
	if errors.As(err, &d) {
		return d.Fault
	}
	f := Fault{Side: Upstream, Kind: DialRefused, SafeToResend: true, Err: err}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		f.Kind = DialTimeout
	}
	return f
}

// NewDialError returns the *DialError of an attempt to connect. reason is a constant word or "".
func NewDialError(kind Kind, reason string, err error) error {
	return &DialError{Fault: Fault{Side: Upstream, Kind: kind, SafeToResend: true, Reason: reason, Err: err}}
}
