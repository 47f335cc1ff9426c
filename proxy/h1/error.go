// Package h1 reads and writes HTTP/1.x messages strictly, by RFC 9112.
//
// It owns the syntax: request and status lines, field lines, body framing and the chunked coding. It imports
// proxy/message only, holds no connection and never blocks: functions take bytes and return how many they used. The one
// idea: bytes that two parsers could read in two ways are an error with a name. The proxy and the application behind it
// must never disagree about where a message ends.
package h1

import "errors"

// Class selects the response to an error.
type Class uint8

// The classes of error.
const (
	Malformed   Class = iota // 400
	TooLarge                 // 431
	Unsupported              // 501
)

// Error is the reason why a message is refused.
type Error struct {
	Class Class
	// Reason is a constant word for metrics and logs.
	Reason string
}

func (e *Error) Error() string { return "http/1: " + e.Reason }

// The reject list. Each error is one rule of RFC 9112, or of RFC 9110 if the comment names it.
var (
	ErrBareLF           = &Error{Malformed, "bare_lf"}             // §2.2: a line ends with CRLF
	ErrBareCR           = &Error{Malformed, "bare_cr"}             // §2.2
	ErrNUL              = &Error{Malformed, "nul"}                 // RFC 9110 §5.5
	ErrStartLine        = &Error{Malformed, "start_line"}          // §3
	ErrMethod           = &Error{Malformed, "method"}              // RFC 9110 §9.1
	ErrTarget           = &Error{Malformed, "target"}              // §3.2
	ErrVersion          = &Error{Malformed, "version"}             // §2.3
	ErrStatus           = &Error{Malformed, "status"}              // §4
	ErrObsFold          = &Error{Malformed, "obs_fold"}            // §5.2
	ErrFieldName        = &Error{Malformed, "field_name"}          // §5
	ErrSpaceBeforeColon = &Error{Malformed, "space_before_colon"}  // §5.1
	ErrFieldValue       = &Error{Malformed, "field_value"}         // RFC 9110 §5.5
	ErrNoHost           = &Error{Malformed, "no_host"}             // §3.2
	ErrDuplicateHost    = &Error{Malformed, "duplicate_host"}      // §3.2
	ErrHost             = &Error{Malformed, "host"}                // §3.2, RFC 9110 §7.2
	ErrTEAndCL          = &Error{Malformed, "te_and_cl"}           // §6.1, §11.2
	ErrTEInHTTP10       = &Error{Malformed, "te_in_http10"}        // §6.1
	ErrTransferCoding   = &Error{Unsupported, "transfer_encoding"} // §6.1
	ErrContentLength    = &Error{Malformed, "content_length"}      // §6.3: not digits, too large, or two that differ
	ErrChunkSize        = &Error{Malformed, "chunk_size"}          // §7.1
	ErrChunkExtension   = &Error{Malformed, "chunk_extension"}     // §7.1.1
	ErrChunkEnd         = &Error{Malformed, "chunk_end"}           // §7.1: chunk data is followed by CRLF
	ErrTrailer          = &Error{Malformed, "trailer"}             // RFC 9110 §6.5.1
	// RFC 9110 §9.3.6: CONNECT has no content, and some servers do not check
	ErrConnectBody  = &Error{Malformed, "connect_body"}
	ErrExpectation  = &Error{Unsupported, "expectation"} // RFC 9110 §10.1.1
	ErrHeadTooLarge = &Error{TooLarge, "head_too_large"}
)

// ReasonOf returns the reason of an Error in err's chain, "" if there is none.
func ReasonOf(err error) string {
	var syntax *Error
	if errors.As(err, &syntax) {
		return syntax.Reason
	}
	return ""
}
