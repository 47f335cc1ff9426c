package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tools are the commands that the script may use; it must not need others. curl and wget are named by each test.
var tools = []string{
	"awk", "cat", "chmod", "cp", "gzip", "ln", "mkdir", "mktemp", "mv", "rm", "sha256sum", "tar", "uname",
}

// installation is a run of the script of a release against a server of this test.
type installation struct {
	t        *testing.T
	shell    string
	script   string
	bin      string // PATH
	root     string // INSTALLROOT
	temp     string // TMPDIR
	releases string // TULLE_RELEASES
	requests atomic.Int32
	env      []string
}

// newInstallation serves a folder of releases. serve, unless nil, handles a request and says whether it did.
func newInstallation(t *testing.T, releases string, serve func(http.ResponseWriter, *http.Request) bool) *installation {
	t.Helper()
	i := &installation{t: t, bin: t.TempDir(), temp: t.TempDir(), root: filepath.Join(t.TempDir(), "root with space")}
	files := http.FileServer(http.Dir(releases))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.requests.Add(1)
		if serve == nil || !serve(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	i.releases = server.URL
	i.script = filepath.Join(releases, "v0.1.0", "install.sh")
	var err error
	if i.shell, err = exec.LookPath("dash"); err != nil { // the strictest shell; Debian's sh
		i.shell = "/bin/sh"
	}
	i.use(tools...)
	return i
}

// use makes commands of this machine available to the script.
func (i *installation) use(names ...string) *installation {
	i.t.Helper()
	for _, name := range names {
		file, err := exec.LookPath(name)
		if err != nil {
			i.t.Skipf("%s is missing on this machine", name)
		}
		if err := os.Symlink(file, filepath.Join(i.bin, name)); err != nil {
			i.t.Fatal(err)
		}
	}
	return i
}

// fake makes a command of a script available.
func (i *installation) fake(name, script string) {
	i.t.Helper()
	file := filepath.Join(i.bin, name)
	_ = os.Remove(file)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		i.t.Fatal(err)
	}
}

func (i *installation) command() *exec.Cmd {
	cmd := exec.Command(i.shell, i.script)
	cmd.Env = append([]string{
		"PATH=" + i.bin, "HOME=/nonexistent", "INSTALLROOT=" + i.root, "TMPDIR=" + i.temp, "TULLE_RELEASES=" + i.releases,
	}, i.env...)
	return cmd
}

// succeeds runs the script, and checks that it installed the release.
func (i *installation) succeeds() (output string) {
	i.t.Helper()
	out, err := i.command().CombinedOutput()
	if err != nil {
		i.t.Fatalf("%v\n%s", err, out)
	}
	installed, err := exec.Command(filepath.Join(i.root, "bin", "tulle"), "version", "--client", "--short").Output()
	if err != nil || string(installed) != "v0.1.0\n" {
		i.t.Errorf("installed command: got %q, %v, want v0.1.0", installed, err)
	}
	if to, err := os.Readlink(filepath.Join(i.root, "bin", "tulle")); err != nil || to != "tulle-v0.1.0" {
		i.t.Errorf("link: got %q, %v, want tulle-v0.1.0", to, err)
	}
	for file := range contents(i.t, filepath.Join(i.root, "bin")) {
		if strings.HasPrefix(file, ".") {
			i.t.Errorf("%s was left", file)
		}
	}
	i.noTemporaries()
	return string(out)
}

// fails runs the script, and checks that it failed with a message and left nothing.
func (i *installation) fails(want string) {
	i.t.Helper()
	out, err := i.command().CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		i.t.Errorf("got %v:\n%s\nwant %q", err, out, want)
	}
	i.nothing()
}

func (i *installation) nothing() {
	i.t.Helper()
	if _, err := os.Stat(i.root); err == nil {
		i.t.Errorf("%s was made", i.root)
	}
	i.noTemporaries()
}

func (i *installation) noTemporaries() {
	i.t.Helper()
	if left := contents(i.t, i.temp); len(left) > 0 {
		i.t.Errorf("%d temporary files were left", len(left))
	}
}

func TestInstallScript(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the script is for Linux and macOS")
	}
	releases := filepath.Dir(made(t, of(checkout(t), host, platform{"linux", otherArch()})))
	for _, client := range []string{"curl", "wget"} {
		t.Run(client, func(t *testing.T) { testDownloads(t, releases, client) })
	}
	t.Run("a version that exists is not downloaded again, and becomes the default", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		i.succeeds()
		before := i.requests.Load()
		link := filepath.Join(i.root, "bin", "tulle")
		if err := errors.Join(os.Remove(link), os.Symlink("tulle-v0.0.9", link)); err != nil {
			t.Fatal(err)
		}
		if out := i.succeeds(); !strings.Contains(out, "exists") {
			t.Errorf("got %q, want it to say that the version exists", out)
		}
		if got := i.requests.Load(); got != before {
			t.Errorf("requests: got %d, want none", got-before)
		}
	})
	t.Run("an upgrade leaves the version before it", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		writeFile(t, filepath.Join(i.root, "bin", "tulle-v0.0.9"), "earlier")
		if err := os.Symlink("tulle-v0.0.9", filepath.Join(i.root, "bin", "tulle")); err != nil {
			t.Fatal(err)
		}
		i.succeeds()
		if got := contents(t, filepath.Join(i.root, "bin"))["tulle-v0.0.9"]; got != "earlier" {
			t.Errorf("earlier version: got %q", got)
		}
	})
	t.Run("next steps name the folder that is not in PATH", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		if out := i.succeeds(); !strings.Contains(out, "export PATH=$PATH:"+i.root+"/bin\n") {
			t.Errorf("got:\n%s", out)
		}
	})
	t.Run("a script that arrived in part does nothing", func(t *testing.T) { testPartOfScript(t, releases) })
	t.Run("an interrupted run leaves nothing", func(t *testing.T) { testInterrupted(t, releases) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, releases) })
}

func otherArch() string {
	if host.arch == "amd64" {
		return "arm64"
	}
	return "amd64"
}

func testDownloads(t *testing.T, releases, client string) {
	archive := fmt.Sprintf("/v0.1.0/tulle-v0.1.0-%s-%s.tar.gz", host.os, host.arch)
	good, err := os.ReadFile(filepath.Join(releases, archive))
	if err != nil {
		t.Fatal(err)
	}
	only := func(name string, serve http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) != path.Base(name) {
				return false
			}
			serve(w, r)
			return true
		}
	}
	t.Run("good", func(t *testing.T) { newInstallation(t, releases, nil).use(client).succeeds() })
	t.Run("one byte of the archive differs", func(t *testing.T) {
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 1
		newInstallation(t, releases, only(archive, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bad) })).
			use(client).fails("the checksum of tulle-v0.1.0-")
	})
	t.Run("the archive is another file", func(t *testing.T) {
		newInstallation(t, releases, only(archive, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) })).
			use(client).fails("the checksum of tulle-v0.1.0-")
	})
	t.Run("the connection ends within the archive", func(t *testing.T) {
		newInstallation(t, releases, only(archive, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
			panic(http.ErrAbortHandler)
		})).use(client).fails("could not download")
	})
	t.Run("the connection ends within an archive of unknown length", func(t *testing.T) {
		newInstallation(t, releases, only(archive, func(w http.ResponseWriter, _ *http.Request) {
			conn, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = out.WriteString("HTTP/1.0 200 OK\r\n\r\n")
			_, _ = out.Write(good[:len(good)/2])
			_, _ = out.Flush(), conn.Close()
		})).use(client).fails("the checksum of tulle-v0.1.0-")
	})
	t.Run("the checksums lack the archive", func(t *testing.T) {
		newInstallation(t, releases, only("SHA256SUMS", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, strings.Repeat("0", 64), " another.tar.gz")
		})).use(client).fails("does not have one checksum of tulle-v0.1.0-")
	})
	t.Run("the checksums name the archive twice", func(t *testing.T) {
		newInstallation(t, releases, only("SHA256SUMS", func(w http.ResponseWriter, _ *http.Request) {
			line := strings.Repeat("0", 64) + "  " + path.Base(archive) + "\n"
			_, _ = w.Write([]byte(line + line))
		})).use(client).fails("does not have one checksum of tulle-v0.1.0-")
	})
	t.Run("no such release", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use(client)
		i.env = []string{"TULLE_VERSION=v9.9.9"}
		i.fails("is v9.9.9 a release")
	})
	t.Run("no server", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use(client)
		i.releases = "http://127.0.0.1:1"
		i.fails("could not download")
	})
}

func testPartOfScript(t *testing.T, releases string) {
	i := newInstallation(t, releases, nil).use("curl")
	script, err := os.ReadFile(i.script)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(script, []byte("main "))
	for n := 0; n < last; n += 97 {
		cmd := i.command()
		cmd.Args, cmd.Stdin = cmd.Args[:1], bytes.NewReader(script[:n])
		_ = cmd.Run() // a shell refuses half a function
		if i.requests.Load() > 0 {
			t.Fatalf("the first %d bytes send a request", n)
		}
	}
	i.nothing()
	cmd := i.command()
	cmd.Args, cmd.Stdin = cmd.Args[:1], bytes.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the whole script by a pipe: %v\n%s", err, out)
	}
}

func testInterrupted(t *testing.T, releases string) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) { // by nohup, or by a shell that runs this in the background: the script then ignores it too
			continue
		}
		reached := make(chan struct{}, 1)
		i := newInstallation(t, releases, func(w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) == "SHA256SUMS" {
				return false
			}
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
			reached <- struct{}{}
			<-r.Context().Done()
			return true
		}).use("curl")
		cmd := i.command()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal signals all processes of the script
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		select {
		case <-reached:
		case <-time.After(time.Minute):
			t.Error("the script does not download")
		}
		if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%v: got no error", sig)
		}
		i.nothing()
	}
}

// with returns a change of the environment.
func with(env ...string) func(*installation) { return func(i *installation) { i.env = env } }

func testRefusals(t *testing.T, releases string) {
	for _, tc := range []struct {
		name, want string
		change     func(i *installation)
	}{
		{"unknown system", "there is no archive for SunOS", func(i *installation) { i.fake("uname", "echo SunOS") }},
		{"unknown architecture", "there is no archive for riscv64", func(i *installation) {
			i.fake("uname", "case $1 in -s) echo Linux ;; *) echo riscv64 ;; esac")
		}},
		{"no client", "curl and wget are missing", func(i *installation) { _ = os.Remove(filepath.Join(i.bin, "curl")) }},
		{"no digest", "sha256sum and shasum are missing", func(i *installation) {
			_ = os.Remove(filepath.Join(i.bin, "sha256sum"))
		}},
		{"version that is a path", "want a version such as v0.1.0", with("TULLE_VERSION=v0.1.0/../x")},
		{"version without v", "want a version such as v0.1.0", with("TULLE_VERSION=0.1.0")},
		{"relative folder", "want a path that begins with /", with("INSTALLROOT=here")},
		{"neither folder nor home", "set INSTALLROOT", with("INSTALLROOT=", "HOME=")},
		{"the script of a checkout", "set TULLE_VERSION", func(i *installation) { i.script = "../../install/install.sh" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newInstallation(t, releases, nil).use("curl")
			tc.change(i)
			i.fails(tc.want)
		})
	}
	t.Run("folder where the link belongs", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		if err := os.MkdirAll(filepath.Join(i.root, "bin", "tulle"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := i.command().CombinedOutput(); err == nil || !strings.Contains(string(out), "bin/tulle is a folder") {
			t.Errorf("got %v:\n%s", err, out)
		}
		i.noTemporaries()
	})
	t.Run("archive for another architecture", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[otherArch()]
		i.fake("uname", "case $1 in -s) echo Linux ;; *) echo "+machine+" ;; esac")
		if out, err := i.command().CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("folder of another user", func(t *testing.T) {
		i := newInstallation(t, releases, nil).use("curl")
		i.root = "/proc/nothing"
		i.fails("could not make /proc/nothing/bin")
	})
}
