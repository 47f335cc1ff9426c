package profile

import (
	"strings"
	"testing"
)

func TestNamesThatNoServiceHas(t *testing.T) {
	for name, test := range map[string]struct {
		service Service
		want    string
	}{
		"a Service":           {Service{Name: "web", Namespace: "shop"}, ""},
		"a full name":         {Service{Name: "web.shop", Namespace: "shop"}, "give the name alone"},
		"a kind":              {Service{Name: "svc/web", Namespace: "shop"}, "give the name alone"},
		"capital letters":     {Service{Name: "Web", Namespace: "shop"}, `service "Web": `},
		"a capital namespace": {Service{Name: "web", Namespace: "Shop"}, `namespace "Shop": `},
		"no names":            {Service{}, `service "": `},
	} {
		err := test.service.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
