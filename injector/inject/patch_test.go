package inject

import (
	"encoding/json"
	"fmt"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
)

func TestPatchIsSmall(t *testing.T) {
	for name, test := range map[string]struct{ before, after, want string }{
		"equal objects": {`{"a":[1,{"b":null}]}`, `{"a":[1,{"b":null}]}`, ``},
		"items put before others": {`{"a":[3,4]}`, `{"a":[1,2,3,4]}`,
			`[{"op":"add","path":"/a/0","value":1},{"op":"add","path":"/a/1","value":2}]`},
		"an item put behind others": {`{"a":[3,4]}`, `{"a":[3,4,4]}`, `[{"op":"add","path":"/a/2","value":4}]`},
		"items taken out":           {`[1,2,3,4]`, `[1,4]`, `[{"op":"remove","path":"/1"},{"op":"remove","path":"/1"}]`},
		"items between others": {`[1,2,3]`, `[0,1,2,5,3]`,
			`[{"op":"add","path":"/0","value":0},{"op":"add","path":"/3","value":5}]`},
		"items around one taken out": {`[1,2,3]`, `[2]`, `[{"op":"remove","path":"/0"},{"op":"remove","path":"/1"}]`},
		"a field of an item": {`[{"a":1,"b":2},3]`, `[{"a":1,"b":7},3]`,
			`[{"op":"replace","path":"/0/b","value":7}]`},
		"keys that need escapes": {`{}`, `{"a/b~c":""}`, `[{"op":"add","path":"/a~1b~0c","value":""}]`},
		"null is a value":        {`{"a":1}`, `{"a":null}`, `[{"op":"replace","path":"/a","value":null}]`},
		"numbers beyond float64": {`{"a":9007199254740993}`, `{"a":9007199254740992}`,
			`[{"op":"replace","path":"/a","value":9007199254740992}]`},
		"removals before additions": {`{"b":1}`, `{"a":1}`,
			`[{"op":"remove","path":"/b"},{"op":"add","path":"/a","value":1}]`},
		"a list instead of an object": {`{"a":{}}`, `{"a":[]}`, `[{"op":"replace","path":"/a","value":[]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Patch(json.RawMessage(test.before), json.RawMessage(test.after))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

// TestPatchOfAHugePod would need gigabytes if it compared every item of a list with every other.
func TestPatchOfAHugePod(t *testing.T) {
	pod := &corev1.Pod{}
	for i := range 50_000 {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i)})
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "c"})
	}
	s, err := ParseSettings(Defaults(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := Apply(pod, s, Decision{Action: Inject}, "shop", Owner{})
	if err != nil {
		t.Fatal(err)
	}
	// With a cost that is not linear this takes minutes, beyond the timeout of the test.
	patch, err := Patch(pod, after)
	if err != nil {
		t.Fatal(err)
	}
	if len(patch) > 32<<10 {
		t.Errorf("the patch has %d bytes, want what injection adds", len(patch))
	}
}

func FuzzPatchTurnsOneIntoTheOther(f *testing.F) {
	f.Add(`{"a":[1,2,{"b":"c"}],"~":null}`, `{"a":[2,{"b":"d"},2],"/":{}}`)
	f.Add(`[[1],[2],[3]]`, `[[3],[1],[2]]`)
	f.Fuzz(func(t *testing.T, before, after string) {
		var from, to map[string]any // a patch library need not take a scalar for a document
		if json.Unmarshal([]byte(before), &from) != nil || json.Unmarshal([]byte(after), &to) != nil || from == nil ||
			to == nil {
			return
		}
		text, err := Patch(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if text == nil {
			text = []byte("[]")
		}
		patch, err := jsonpatch.DecodePatch(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		source, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := patch.Apply(source)
		if err != nil {
			t.Fatalf("%s to %s by %s: %v", before, after, text, err)
		}
		var again map[string]any
		if err := json.Unmarshal(got, &again); err != nil {
			t.Fatal(err)
		}
		if rest, _ := Patch(again, to); rest != nil {
			t.Errorf("%s to %s by %s gives %s", before, after, text, got)
		}
	})
}
