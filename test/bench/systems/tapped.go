package systems

import (
	"net/netip"
	"path/filepath"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// Tapped is the name of the Tulle pair that is watched.
const Tapped = "tulle-tapped"

// Which proxies are watched: the values of Config.Tapped.
const (
	TappedServer = "server"
	TappedBoth   = "both"
)

// TapCounts is the file, in a Setup's directory, to which the watcher writes what it saw when it ends.
const TapCounts = "tapper.json"

// Where Tulle's proxies listen for the watcher.
var (
	tulleOutTap = netip.MustParseAddrPort("127.0.0.1:4190")
	tulleInTap  = netip.MustParseAddrPort("127.0.0.2:4190")
)

// tapped is the Tulle pair while somebody watches as many requests as a proxy shows at most, 1,000 a second: of the
// server's proxy, or of each. What tap costs is the ratio to Tulle in one run. The watcher is the tap server in a
// cluster, on another node. So its CPU time is not the pair's, and it gets only what the others leave: otherwise it
// would preempt the load generator and the pair, and its wake-ups would be measured as latency.
func tapped(c Config) *System {
	c.Profiles = ""
	s := tulle(c)
	s.Name, s.Long = Tapped, "Tulle's proxies, while somebody watches 1,000 requests a second: "+c.Tapped
	s.Commands = func(s Setup) ([]lab.Command, error) {
		in, out := tulleIn(s), tulleOut(s)
		in.Tap, in.TapID, out.Tap, out.TapID = tulleInTap, s.PKI.Tap.SPIFFE, tulleOutTap, s.PKI.Tap.SPIFFE
		var commands []lab.Command
		for side, file := range map[string]tulleFile{"in": in, "out": out} {
			command, err := tulleLocal(c, s, side, file)
			if err != nil {
				return nil, err
			}
			commands = append(commands, command)
		}
		return commands, nil
	}
	s.Plane = nil
	s.Watcher = func(s Setup) lab.Command {
		watcher := lab.Command{Name: "tapper", Path: filepath.Join(s.Bin, "tapper"), CPUs: s.Ends, Idle: true, Args: []string{
			"-chain", s.PKI.Tap.Chain, "-key", s.PKI.Tap.Key, "-roots", s.PKI.Roots, "-out", filepath.Join(s.Dir, TapCounts),
			tulleInTap.String() + "=" + s.PKI.Server.SPIFFE,
		}}
		if c.Tapped == TappedBoth {
			watcher.Args = append(watcher.Args, tulleOutTap.String()+"="+s.PKI.Client.SPIFFE)
		}
		return watcher
	}
	return s
}
