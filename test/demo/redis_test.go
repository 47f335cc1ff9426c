package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLDD(t *testing.T) {
	got, err := parseLDD(`	linux-vdso.so.1 (0x00007ffd)
	liblzf.so.1 => /cache/redis/usr/lib/x86_64-linux-gnu/liblzf.so.1 (0x00007f1)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)
	/lib64/ld-linux-x86-64.so.2 (0x00007f3)
`)
	want := []string{"/cache/redis/usr/lib/x86_64-linux-gnu/liblzf.so.1", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseLDD("liblzf.so.1 => not found\n"); err == nil {
		t.Error("a missing library was accepted")
	}
	if _, err := parseLDD("not a dynamic executable\n"); err == nil {
		t.Error("a program without libraries was accepted")
	}
}

func TestCountChanges(t *testing.T) {
	applied := "namespace/shop unchanged\ndeployment.apps/web configured\nservice/web created\nWarning: something\n"
	if got, want := countChanges(applied), "3 objects, 2 changed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
