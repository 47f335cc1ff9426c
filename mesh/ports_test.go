package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePortSet(t *testing.T) {
	named := func(name string) []uint16 {
		return map[string][]uint16{"redis": {6379, 6380}, "8080-tcp": {8080}, "udp": {}}[name]
	}
	const (
		nameless = " is not a port (1-65535) or a range first-last"
		orName   = " is not a port (1-65535), a range first-last or the name of one of its ports"
	)
	for _, tt := range []struct {
		name, in string
		named    func(string) []uint16
		want     string
		err      string
	}{
		{name: "nothing", in: " , ", want: ""},
		{name: "ports and ranges, sorted and joined", in: "9000-9010, 25,26,9005", want: "25-26,9000-9010"},
		{name: "a name where there are none", in: "25,redis", err: `"redis"` + nameless},
		{name: "names", in: "redis,1", named: named, want: "1,6379-6380"},
		{name: "a name that begins like a range", in: "8080-tcp", named: named, want: "8080"},
		{name: "a name of no port", in: "udp,7", named: named, want: "7"},
		{name: "an unknown name", in: "25,http", named: named, err: `"http"` + orName},
		{name: "half a range", in: "80-x", named: named, err: `"80-x"` + orName},
		{name: "half a range where there are no names", in: "80-x", err: `"80-x"` + nameless},
		{name: "a range that runs backwards", in: "90-80", err: `"90-80"` + nameless},
		{name: "no port at all", in: "0", err: `"0"` + nameless},
		{name: "a port too high", in: "65536", named: named, err: `"65536"` + orName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParsePortSet(tt.in, tt.named)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err || got.String() != tt.want {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseNamedPortsLeavesNamesToTheObjects(t *testing.T) {
	set, names, err := parseNamedPorts("25,redis, 80-x,9000-9010")
	if diff := cmp.Diff([]string{"redis", "80-x"}, names); err != nil || set.String() != "25,9000-9010" || diff != "" {
		t.Errorf("got %q, %q, %v", set, names, err)
	}
	for _, bad := range []string{"Redis", "80-", "-x", "a--b", "90-80", "70000", "a-name-of-sixteen", "a_b"} {
		if _, _, err := parseNamedPorts("25," + bad); err == nil || err.Error() != `"`+bad+
			`" is not a port (1-65535), a range first-last or the name of a port` {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestPortSetWith(t *testing.T) {
	set := PortSet{{1, 3}, {10, 10}}
	if got := set.With(4).With(2).With(20).String(); got != "1-4,10,20" || set.String() != "1-3,10" {
		t.Errorf("got %s from %s", got, set)
	}
}
