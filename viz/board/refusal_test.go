package board

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/viz/rights"
)

// TestRefuseNamesTheRemedy: a page that no waiting helps does not say that it goes on by itself.
func TestRefuseNamesTheRemedy(t *testing.T) {
	got := Refuse(fmt.Errorf("you may see 60 namespaces, %w", rights.ErrTooMany))
	if got.Code != Forbidden || !strings.Contains(got.Remedy, "Choose one namespace") {
		t.Errorf("refusal %+v", got)
	}
}
