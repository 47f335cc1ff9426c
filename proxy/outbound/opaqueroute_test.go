package outbound

import "testing"

func TestSpecificityOfServerNames(t *testing.T) {
	for _, c := range []struct {
		hostnames []string
		name      string
		fits      bool
	}{
		{nil, "", true}, {nil, "a.b", true}, {[]string{"a.b"}, "a.b", true}, {[]string{"A.b"}, "a.B.", true},
		{[]string{"a.b"}, "x.a.b", false},
		{[]string{"*.a.b"}, "x.a.b", true}, {[]string{"*.a.b"}, "y.x.a.b", true}, {[]string{"*.a.b"}, "a.b", false},
		{[]string{"*.a.b"}, "xa.b", false},
		{[]string{"a.b"}, "", false}, {[]string{"*.a.b"}, "", false},
	} {
		if got := specificity(c.hostnames, c.name) >= 0; got != c.fits {
			t.Errorf("%v fits %q: %v", c.hostnames, c.name, got)
		}
	}
	longer, shorter := specificity([]string{"*.x.a.b"}, "y.x.a.b"), specificity([]string{"*.b", "*.a.b"}, "y.x.a.b")
	if exact := specificity([]string{"*.b", "y.x.a.b"}, "y.x.a.b"); !(exact > longer && longer > shorter && shorter > 0) {
		t.Errorf("an exact name has %d, patterns %d and %d", exact, longer, shorter)
	}
}
