package revocation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestRevoke(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}})
	cl := &cluster.Client{Interface: client}
	conflicts := 0
	client.PrependReactor("patch", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		if conflicts > 0 {
			conflicts--
			return true, nil, apierrors.NewConflict(corev1.Resource("namespaces"), "tulle", nil)
		}
		return false, nil, nil
	})
	for _, step := range []struct {
		name      string
		opts      Options
		conflicts int
		out, want string // what is printed, and the annotation afterwards
	}{
		{"an empty list", Options{List: true}, 0, "nobody is revoked", ""},
		{"a dry run", Options{Serials: []string{"1f"}, DryRun: true}, 0, "serial:1f: would be revoked", ""},
		{"a certificate", Options{Serials: []string{"0A:1F"}}, 0, "serial:a1f: revoked", "serial:a1f"},
		{"again", Options{Serials: []string{"a1f"}}, 0, "is revoked already", "serial:a1f"},
		{"an account, beside another writer", Options{Accounts: []string{"shop/web"}}, 2, "serviceaccount:shop/web: revoked",
			"serial:a1f,serviceaccount:shop/web"},
		{"the list", Options{List: true}, 0, "serial:a1f\nserviceaccount:shop/web\n", "serial:a1f,serviceaccount:shop/web"},
		{"undone", Options{Serials: []string{"a1f"}, Undo: true}, 0, "trusted again", "serviceaccount:shop/web"},
		{"undone again", Options{Serials: []string{"a1f"}, Undo: true}, 0, "is not revoked", "serviceaccount:shop/web"},
		{"the last", Options{Accounts: []string{"shop/web"}, Undo: true}, 0, "trusted again", ""},
	} {
		var out strings.Builder
		step.opts.Out, step.opts.Namespace, conflicts = &out, "tulle", step.conflicts
		if err := Run(t.Context(), cl, step.opts); err != nil || !strings.Contains(out.String(), step.out) {
			t.Errorf("%s: error %v, got %q, want %q", step.name, err, out.String(), step.out)
		}
		ns, err := client.CoreV1().Namespaces().Get(t.Context(), "tulle", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ns.Annotations[mesh.RevokedAnnotation]; got != step.want {
			t.Errorf("%s: the annotation is %q, want %q", step.name, got, step.want)
		}
	}
	for _, test := range []struct {
		opts Options
		want string
	}{
		{Options{}, "name a certificate with --serial"},
		{Options{Serials: []string{"xyz"}}, "is not a serial number"},
		{Options{Accounts: []string{"web"}}, "is not NAMESPACE/NAME"},
		{Options{Accounts: []string{"shop/web,bank/x"}}, "want serial:HEX or serviceaccount"},
		{Options{List: true, Serials: []string{"1f"}}, "name nobody"},
	} {
		test.opts.Namespace, test.opts.Out = "tulle", &strings.Builder{}
		if err := Run(t.Context(), cl, test.opts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", test.opts, err, test.want)
		}
	}
}
