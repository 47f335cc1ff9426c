package mesh

// GRPCFailures has the bit 1<<code for each gRPC status that counts as the server's failure: UNKNOWN,
// DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE and DATA_LOSS. Source: Linkerd's default.
const GRPCFailures = 1<<2 | 1<<4 | 1<<7 | 1<<13 | 1<<14 | 1<<15

// IsGRPCFailure reports whether a gRPC status is among GRPCFailures; it is not for a negative one.
func IsGRPCFailure(code int16) bool { return code >= 0 && code < 32 && GRPCFailures>>uint(code)&1 == 1 }
