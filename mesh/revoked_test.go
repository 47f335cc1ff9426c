package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseRevoked(t *testing.T) {
	got, errs := ParseRevoked(" serial:0A:1f, serviceaccount:shop/web,serial:a1f,,serviceaccount:bank/x, serial:zz, web,"+
		"serviceaccount:shop,serviceaccount:Shop/web,serial:-1,serial:", "cluster.local")
	want := []string{"serial:a1f", "serviceaccount:bank/x", "serviceaccount:shop/web"}
	if entries := got.Entries(); !slices.Equal(entries, want) || len(errs) != 6 {
		t.Errorf("got %v and %d errors, want %v and 6: %v", entries, len(errs), want, errs)
	}
	again, errs := ParseRevoked(strings.Join(got.Entries(), ","), "cluster.local")
	if !again.Equal(got) || errs != nil {
		t.Errorf("read again: got %v, %v", again, errs)
	}
	if none, errs := ParseRevoked("", "cluster.local"); !none.IsZero() || errs != nil {
		t.Errorf("of nothing: got %v, %v", none, errs)
	}
	var many []string
	for i := range MaxRevoked + 5 {
		many = append(many, fmt.Sprintf("serial:%x", i+1))
	}
	if got, errs := ParseRevoked(strings.Join(many, ","), "x"); len(got.Serials) != MaxRevoked || len(errs) != 1 {
		t.Errorf("got %d entries and %v, want %d and one error", len(got.Serials), errs, MaxRevoked)
	}
}
