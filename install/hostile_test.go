package install

import (
	"strings"
	"testing"
	"time"
)

func TestValidateNamesWhatTheAPIServerWouldRefuse(t *testing.T) {
	for key, change := range map[string]func(*Values){
		`podLabels "bad key"`:     func(v *Values) { v.PodLabels = map[string]string{"bad key": "x"} },
		`podLabels.a "x\n  b: c"`: func(v *Values) { v.PodLabels = map[string]string{"a": "x\n  b: c"} },
		`podLabels "linkerd.io/control`: func(v *Values) {
			v.PodLabels = map[string]string{"linkerd.io/control-plane-component": "x"}
		},
		`podAnnotations "linkerd.io/inject"`: func(v *Values) {
			v.PodAnnotations = map[string]string{"linkerd.io/inject": "enabled"}
		},
		`priorityClassName "x\ny: z"`:     func(v *Values) { v.PriorityClassName = "x\ny: z" },
		`imagePullSecrets[0].name "a: b"`: func(v *Values) { v.ImagePullSecrets = []LocalObjectID{{Name: "a: b"}} },
		`tolerations[0].key "a: {b"`:      func(v *Values) { v.Tolerations = []Toleration{{Key: "a: {b"}} },
		`controllerImage "a b"`:           func(v *Values) { v.ControllerImage = "a b" },
	} {
		v := Defaults()
		change(&v)
		if _, err := v.Validate(time.Now()); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("got %v, want an error that begins %s", err, key)
		}
	}
	v := Defaults()
	v.PodAnnotations = map[string]string{"example.com/Text": "anything: {goes\n- \u2028here"}
	if _, err := v.Validate(time.Now()); err != nil {
		t.Errorf("an annotation with text: %v", err)
	}
}

// The destination controller reads the default before it knows any named port, and would not start.
func TestValidateRefusesNamesAmongTheDefaultOpaquePorts(t *testing.T) {
	v := Defaults()
	v.Proxy.OpaquePorts = "25,redis"
	want := `proxy.opaquePorts: "redis" is not a port (1-65535) or a range first-last`
	if _, err := v.Validate(time.Now()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
