package systems

import (
	"os"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

func tulle(path string) *System {
	missing := ""
	if _, err := os.Stat(path); err != nil {
		missing = "tulle-proxy is not built"
	}
	return &System{Name: "tulle", Long: "Tulle's proxy, without a control plane", Missing: missing, Hybrid: true, Entry: outer,
		Commands: func(s Setup) ([]lab.Command, error) { return nil, nil }}
}
