package spelling

import "testing"

func TestNearest(t *testing.T) {
	keys := []string{"proxy-cpu-limit", "proxy-memory-limit", "opaque-ports"}
	for key, want := range map[string]string{
		"proxy-mem-limit": "proxy-memory-limit",
		"opaque-port":     "opaque-ports",
		"opqaue-ports":    "opaque-ports",
		"colour":          "",
		"":                "",
	} {
		if got, ok := Nearest(key, keys); got != want || ok != (want != "") {
			t.Errorf("nearest to %q is %q, want %q", key, got, want)
		}
	}
}
