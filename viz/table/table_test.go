package table

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	tab := Table{Columns: append(Left("NAME"), Right("RPS", "TCP_CONN")...)}
	tab.Add("web", "2.0rps", "3")
	tab.Add("größer", "-", "-")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME        RPS   TCP_CONN\n" +
		"web      2.0rps          3\n" +
		"größer        -          -\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriteEndsNoLineWithABlank(t *testing.T) {
	tab := Table{Columns: Left("SRC", "SECURED")}
	tab.Add("web", "")
	var b strings.Builder
	if err := tab.Write(&b); err != nil || strings.Contains(b.String(), " \n") {
		t.Errorf("got %q, error %v", b.String(), err)
	}
}

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain √ ü":      "plain √ ü",
		`quotes " ' \`:   `quotes " ' \`,
		"\x1b[31mred":    `\x1b[31mred`,
		"a\nb\tc\rd\x7f": `a\nb\tc\rd\x7f`,
		"\u009b2J":       `\u009b2J`,
		"\u202eevil":     `\u202eevil`,
		"\U000e0041":     `\U000e0041`,
		"\xff":           `\xff`,
	} {
		if got := Safe(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSafeLines(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"plain\n\tindented\n":       "plain\n\tindented\n",
		"a\x1b[2J\n\u202eb\r\xff\n": `a\x1b[2J` + "\n" + `\u202eb\r\xff` + "\n",
	} {
		if got := SafeLines(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestWriteJSONEscapesWhatATerminalActsOn(t *testing.T) {
	in := map[string]string{"name": "a\"<b>\n\x1b\x7f\u009b\u202e\U000e0041ü"}
	var b bytes.Buffer
	if err := WriteJSON(&b, in); err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"name\": \"a\\\"<b>\\n\\u001b\\u007f\\u009b\\u202e\\udb40\\udc41ü\"\n}\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var out map[string]string
	if err := json.Unmarshal(b.Bytes(), &out); err != nil || out["name"] != in["name"] {
		t.Errorf("reads back as %q, error %v", out["name"], err)
	}
}
