package main

import (
	"strings"
	"testing"
)

func TestProfileGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"template": {"--template"},
		"open-api": {"--open-api", "testdata/profile/books.yaml"},
		"proto":    {"--proto", "testdata/profile/catalog.proto", "--cluster-domain", "cluster.example"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, "", append([]string{"profile", "-n", "shop", "web"}, args...)...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.err)
			}
			golden(t, "profile/"+name+".txt", r)
		})
	}
}

func TestProfileSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		input string
		want  string
	}{
		"nothing chosen":   {[]string{"web"}, "", "give one of --template, --open-api and --proto"},
		"two chosen":       {[]string{"web", "--template", "--proto", "-"}, "", "give one of"},
		"a name with dots": {[]string{"web.shop", "--template"}, "", "give the name alone"},
		"no document":      {[]string{"web", "--open-api", "-"}, "a: b\n", "not an OpenAPI document"},
		"a timeout no time": {[]string{"web", "--open-api", "-"},
			"swagger: '2.0'\npaths: {/a: {get: {x-linkerd-timeout: soon}}}\n", "paths./a.get: x-linkerd-timeout"},
		"no operation":       {[]string{"web", "--open-api", "-"}, "swagger: '2.0'\n", "stdin: describes no operation"},
		"a protobuf mistake": {[]string{"web", "--proto", "-"}, "service {", "stdin:1:9"},
	} {
		r := runCLI(t, noCluster, c.input, append([]string{"profile"}, c.args...)...)
		if r.code != 1 || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: exit code %d, stderr %q, want %q", name, r.code, r.err, c.want)
		}
	}
}
