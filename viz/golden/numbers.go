package golden

// Numbers are golden metrics as JSON. Without requests the pointers are nil and the rate is 0.
type Numbers struct {
	// Success is from 0 to 1.
	Success *float64 `json:"success"`
	RPS     float64  `json:"rps"`
	// P50, P95 and P99 are whole milliseconds; nil if not known.
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// NewNumbers returns them as `-o json` has them; s is nil without requests.
func NewNumbers(s *Stats) Numbers {
	if s == nil {
		return Numbers{}
	}
	return Numbers{Success: &s.Success, RPS: s.RPS, P50: milliseconds(s.P50), P95: milliseconds(s.P95),
		P99: milliseconds(s.P99)}
}

func milliseconds(ms float64) *float64 {
	n := Milliseconds(ms)
	if n == nil {
		return nil
	}
	whole := float64(*n)
	return &whole
}
