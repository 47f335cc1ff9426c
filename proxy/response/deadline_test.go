package response

import (
	"testing"
	"time"
)

func TestTimeoutsOfCalls(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "50m": 50 * time.Millisecond,
		"7u": 7 * time.Microsecond, "99999999n": 99999999,
		"99999999H": 1 << 62, "0S": 0, "": -1, "S": -1, "1": -1, "1s": -1, "-1S": -1, "+1S": -1, "1.5S": -1, "123456789S": -1,
		" 1S": -1,
	} {
		got, ok := parseGRPCTimeout([]byte(text))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func FuzzParseGRPCTimeout(f *testing.F) {
	for _, s := range []string{"1H", "50m", "99999999n", "", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if d, ok := parseGRPCTimeout(in); ok && (d < 0 || len(in) > 9) {
			t.Errorf("%q is %v", in, d)
		}
	})
}
