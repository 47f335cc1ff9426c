package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURIs(t *testing.T) {
	got, err := parseURIs("'http://mirror/b_2.deb' b_2.deb 20 \n'http://mirror/a_1%3a1.deb' a_1%3a1.deb 10 MD5Sum:aa\n")
	if want := "a_1%3a1.deb 10 MD5Sum:aa\nb_2.deb 20"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for name, out := range map[string]string{"nothing": "", "another message": "Reading package lists...\n"} {
		if got, err := parseURIs(out); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
	}
}

func TestTagChangesWithWhatIsInTheImage(t *testing.T) {
	b := Builder{Cache: "/cache"}
	img := Image{Name: "docker.io/x/y", Packages: []string{"a"}, Files: []string{"/bin/a"}}
	first := b.archive(img, "a_1.deb 10")
	if again := b.archive(img, "a_1.deb 10"); again != first {
		t.Errorf("the same image: got %v, then %v", first, again)
	}
	if newer := b.archive(img, "a_2.deb 10"); newer.Name == first.Name || newer.File == first.File {
		t.Errorf("a new version of a package has the old archive %v", newer)
	}
	img.Env = []string{"A=b"}
	other := b.archive(img, "a_1.deb 10")
	if other.Name == first.Name || !strings.HasPrefix(other.Name, "docker.io/x/y:") {
		t.Errorf("another environment has the archive %v", other)
	}
}

// tree writes files and, for a value that begins with "->", symbolic links.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPick(t *testing.T) {
	root := tree(t, map[string]string{
		"usr/bin/run":           "->../lib/app/bin/run",
		"usr/lib/app/bin/run":   "x",
		"usr/lib/app/conf":      "->/etc/app",
		"etc/app/deep/one.conf": "1",
		"etc/app/gone.conf":     "->/etc/generated",
		"etc/app/up":            "->../../../../../../usr/bin/run",
		"usr/share/doc/app":     "unwanted",
	})
	got, err := pick(root, []string{"/usr/bin/r*", "/usr/lib/app"})
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range got {
		got[name] = strings.TrimPrefix(source, root)
	}
	want := map[string]string{
		"/usr/bin/run":                    "/usr/lib/app/bin/run", // a link is a copy of its target
		"/usr/lib/app/bin/run":            "/usr/lib/app/bin/run",
		"/usr/lib/app/conf/deep/one.conf": "/etc/app/deep/one.conf", // an absolute link stays inside
		"/usr/lib/app/conf/up":            "/usr/lib/app/bin/run",   // and a relative one does not get out
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPickErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		files   map[string]string
		pattern string
	}{
		"no such file":                {map[string]string{"usr/bin/a": "x"}, "/usr/bin/b"},
		"endless link":                {map[string]string{"usr/bin/a": "->a"}, "/usr/bin/a"},
		"folder that links to itself": {map[string]string{"usr/lib/a/b": "->../a"}, "/usr/lib/a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := pick(tree(t, tt.files), []string{tt.pattern}); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

// The loader and the libraries of a real program come from the root, and never from this machine.
func TestPickFollowsLibraries(t *testing.T) {
	const program = "/bin/true"
	needed, err := loads(program)
	if err != nil || len(needed) == 0 {
		t.Skipf("%s loads %v, %v", program, needed, err)
	}
	files := map[string]string{}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	files["bin/true"] = string(data)
	_, err = pick(tree(t, files), []string{program})
	if err == nil || !strings.Contains(err.Error(), "is in no package") {
		t.Errorf("without libraries: got %v", err)
	}
	for _, library := range needed {
		if filepath.IsAbs(library) {
			files[library] = "loader"
		} else {
			files["usr/lib/any-linux-gnu/"+library] = "library"
		}
	}
	got, err := pick(tree(t, files), []string{program})
	if err != nil || len(got) != 1+len(needed) {
		t.Errorf("got %v, %v; want the program and %v", got, err, needed)
	}
}
