package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/internal/goldentest"
)

// reference writes docs/cli.md from the commands themselves.
func reference(t *testing.T) string {
	t.Helper()
	t.Setenv("LINKERD_NAMESPACE", "")
	root := newRoot("tulle", streams{}, noCluster)
	var b strings.Builder
	b.WriteString("# The command line\n\nWritten by `go generate ./cmd/tulle`; do not edit.\n\n" + root.Long +
		"\n\n```console\n" + root.Example + "\n```\n\n")
	b.WriteString("## Flags of every command\n\nThey may stand before or after the verb.\n\n")
	writeFlags(&b, root.PersistentFlags())
	for _, cmd := range root.Commands() {
		writeCommand(&b, cmd)
	}
	for _, schema := range []struct{ title, file string }{
		{"Values of install", "../../install/chart/values.yaml"},
		{"Values of viz install", "../../viz/install/values.yaml"},
	} {
		values, err := os.ReadFile(schema.file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "## %s\n\nFor `--set`, `--set-string`, `--set-file` and `-f`:\n\n```yaml\n%s```\n\n", schema.title,
			values)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func writeCommand(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
		return
	}
	fmt.Fprintf(b, "## %s\n\n", cmd.CommandPath())
	if text := cmd.Long; text != "" && cmd.Name() != "completion" {
		fmt.Fprintf(b, "%s\n\n", text)
	} else {
		fmt.Fprintf(b, "%s.\n\n", cmd.Short)
	}
	if cmd.Runnable() {
		fmt.Fprintf(b, "```console\n%s\n```\n\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "```console\n%s\n```\n\n", cmd.Example)
	}
	writeFlags(b, cmd.NonInheritedFlags())
	for _, below := range cmd.Commands() {
		writeCommand(b, below)
	}
}

func writeFlags(b *strings.Builder, fs *pflag.FlagSet) {
	rows := 0
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if rows++; rows == 1 {
			b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := f.DefValue
		if value == "[]" {
			value = ""
		}
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
	if rows > 0 {
		b.WriteString("\n")
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	const file = "../../docs/cli.md"
	got := reference(t)
	goldentest.Equal(t, file, got)
}

func TestEveryCommandHelps(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
			return
		}
		if cmd.Short == "" || cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s: no summary or no example", cmd.CommandPath())
		}
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(newRoot("tulle", streams{}, noCluster))
}

// TestDocsNameWhatIsNeeded holds texts that users follow step by step to what they need.
func TestDocsNameWhatIsNeeded(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	readme := read("README.md")
	if images, install := strings.Index(readme, "make images"), strings.Index(readme, "tulle install |"); images < 0 ||
		images > install {
		t.Error("README.md installs before it says that nodes need the images")
	}
	injection, annotations := read("docs/injection.md"), read("docs/annotations.md")
	for _, resource := range []string{"cpu", "memory", "ephemeral-storage"} {
		for _, kind := range []string{"request", "limit"} {
			name := "config.linkerd.io/proxy-" + resource + "-" + kind
			if !strings.Contains(injection, name) || !strings.Contains(annotations, name) {
				t.Errorf("docs/injection.md does not name the annotation %s, or it does not exist", name)
			}
		}
	}
	for _, word := range []string{"ResourceQuota", "LimitRange", "pod-security.kubernetes.io/enforce=privileged",
		"NET_ADMIN"} {
		if !strings.Contains(injection, word) {
			t.Errorf("docs/injection.md does not name %s", word)
		}
	}
}
