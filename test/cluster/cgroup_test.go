package main

import "testing"

func TestParseCgroupMount(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       cgroupMount
		ok         bool
	}{
		{"version 1", "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu",
			cgroupMount{path: "/sys/fs/cgroup/cpu"}, true},
		{"version 2", "30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw",
			cgroupMount{path: "/sys/fs/cgroup", v2: true}, true},
		{"the tmpfs around version 1", "29 24 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw", cgroupMount{}, false},
		{"a hierarchy mounted elsewhere", "30 24 0:26 / /mnt/cpu rw - cgroup cgroup rw,cpu", cgroupMount{}, false},
		{"no separator", "30 24 0:26 / /sys/fs/cgroup/cpu rw", cgroupMount{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := parseCgroupMount(tc.line)
			if ok != tc.ok || ok && got != tc.want {
				t.Errorf("got %+v, %t, want %+v, %t", got, ok, tc.want, tc.ok)
			}
		})
	}
}
