package systems

import (
	"fmt"
	"os"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// comparator is a foreign proxy given by path. The program is called once for each side with the setup in its
// environment and runs in the foreground until it is ended; docs/performance.md holds the variables.
func comparator(name, path string) *System {
	missing := "no binary given"
	if path != "" {
		missing = ""
		if _, err := os.Stat(path); err != nil {
			missing = fmt.Sprintf("cannot use %s: %v", path, err)
		}
	}
	return &System{Name: name, Long: name + ", given by path", Missing: missing, Entry: outer,
		Commands: func(s Setup) ([]lab.Command, error) {
			side := func(side, listen, target string, own lab.Party) lab.Command {
				return lab.Command{Name: name + "-" + side, Path: path, CPUs: s.CPUs, Env: []string{
					"SIDE=" + side, "KIND=" + string(s.Kind), "LISTEN=" + listen, "TARGET=" + target,
					fmt.Sprint("THREADS=", s.Threads),
					"CHAIN=" + own.Chain, "KEY=" + own.Key, "ROOTS=" + s.PKI.Roots, "PEER=" + s.PKI.Server.Name, "DIR=" + s.Dir,
				}}
			}
			return []lab.Command{
				side("in", s.In.String(), s.App.String(), s.PKI.Server), side("out", s.Out.String(), s.In.String(), s.PKI.Client),
			}, nil
		}}
}
