package model_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/controller/status"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

var update = flag.Bool("update", false, "write the transcripts' answers again")

// TestTranscripts plays the files of testdata. A file is a sequence of sections:
//
//	-- apply --                          objects, YAML
//	-- delete --                         objects, YAML
//	-- problems --                       what the section before was found to be wrong with
//	-- statuses --                       the statuses that changed
//	-- ask <namespace>/<pod>@<node> <address:port or inbound> --    the answer
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

var sectionHead = regexp.MustCompile(`(?m)^-- (.*) --\n`)

// play runs a transcript and returns it with the answers it got.
func play(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	heads := sectionHead.FindAllStringSubmatchIndex(text, -1)
	out.WriteString(text[:heads[0][0]])
	s := model.New(model.TestConfig())
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		head, body := text[h[2]:h[3]], text[h[1]:end]
		verb, rest, _ := strings.Cut(head, " ")
		switch verb {
		case "apply", "delete":
			fmt.Fprintf(&out, "-- %s --\n%s", head, body)
			playObjects(t, &out, s, body, verb == "delete")
		case "ask":
			fmt.Fprintf(&out, "-- %s --\n%s\n", head, playQuestion(t, s, rest))
		case "statuses":
			fmt.Fprintf(&out, "-- statuses --\n%s\n", renderStatuses(s))
		case "problems": // written again by the section before
		default:
			t.Fatalf("unknown section %q", head)
		}
	}
	return out.String()
}

func playObjects(t *testing.T, out *strings.Builder, s *model.Store, body string, deleted bool) {
	t.Helper()
	var problems []model.Problem
	for _, o := range objects(t, body) {
		problems = append(problems, s.Apply(model.Event{Object: o.object, Unknown: o.unknown, Deleted: deleted,
			At: playTime}).Problems...)
	}
	if len(problems) > 0 {
		out.WriteString("-- problems --\n")
		for _, p := range problems {
			fmt.Fprintf(out, "%s %s/%s: %s\n", p.Object.Kind, p.Object.Namespace, p.Object.Name, p)
		}
		out.WriteString("\n")
	}
}

// playTime is when all events of transcripts are received.
var playTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func playQuestion(t *testing.T, s *model.Store, text string) string {
	t.Helper()
	who, what, _ := strings.Cut(text, " ")
	pod, node, _ := strings.Cut(who, "@")
	namespace, podName, _ := strings.Cut(pod, "/")
	var target mesh.Target
	if what != "inbound" {
		target.Addr = netip.MustParseAddrPort(what)
	}
	snap := model.BuildSnapshot(s)
	return model.Render(model.Resolve(s, snap,
		model.QueryFor(s, snap, target, mesh.Client{Namespace: namespace, Pod: podName, Node: node})))
}

// decoded is an object and the paths of it that its type has no field for.
type decoded struct {
	object  metav1.Object
	unknown []string
}

func objects(t *testing.T, text string) []decoded {
	t.Helper()
	var out []decoded
	for doc := range bytes.SplitSeq([]byte(text), []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		o := newObject(kind.GroupVersionKind().Group, kind.Kind)
		if o == nil {
			t.Fatalf("unknown kind %q in:\n%s", kind.Kind, doc)
		}
		out = append(out, decoded{o, decode(t, doc, o)})
	}
	return out
}

// decode decodes strictly, but for what an API server keeps although a type of ours does not know it.
func decode(t *testing.T, doc []byte, o metav1.Object) (unknown []string) {
	t.Helper()
	text, err := yaml.YAMLToJSON(doc)
	if err != nil {
		t.Fatal(err)
	}
	strict, err := kjson.UnmarshalStrict(text, o)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	for _, err := range strict {
		field, ok := strings.CutPrefix(err.Error(), "unknown field ")
		if !ok || !strings.HasPrefix(field, "\"spec.rules") {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		unknown = append(unknown, strings.Trim(field, "\""))
	}
	return unknown
}

func newObject(group, kind string) metav1.Object {
	switch kind {
	case "Service":
		return &corev1.Service{}
	case "EndpointSlice":
		return &discoveryv1.EndpointSlice{}
	case "Pod":
		return &corev1.Pod{}
	case "Namespace":
		return &corev1.Namespace{}
	case "Node":
		return &corev1.Node{}
	}
	if group == gatewayv1.GroupName {
		return newGatewayObject(kind)
	}
	return newMeshObject(kind)
}

func newGatewayObject(kind string) metav1.Object {
	switch kind {
	case "HTTPRoute":
		return &gatewayv1.HTTPRoute{}
	case "GRPCRoute":
		return &gatewayv1.GRPCRoute{}
	case "TLSRoute":
		return &gatewayv1.TLSRoute{}
	case "TCPRoute":
		return &gatewayv1.TCPRoute{}
	case "ReferenceGrant":
		return &gatewayv1.ReferenceGrant{}
	}
	return nil
}

func newMeshObject(kind string) metav1.Object {
	switch kind {
	case "HTTPRoute":
		return &v1alpha1.HTTPRoute{}
	case "ServiceProfile":
		return &v1alpha1.ServiceProfile{}
	case "Server":
		return &v1alpha1.Server{}
	case "AuthorizationPolicy":
		return &v1alpha1.AuthorizationPolicy{}
	case "ServerAuthorization":
		return &v1alpha1.ServerAuthorization{}
	case "MeshTLSAuthentication":
		return &v1alpha1.MeshTLSAuthentication{}
	case "NetworkAuthentication":
		return &v1alpha1.NetworkAuthentication{}
	case "HTTPLocalRateLimitPolicy":
		return &v1alpha1.HTTPLocalRateLimitPolicy{}
	}
	return nil
}

func renderStatuses(s *model.Store) string {
	var b strings.Builder
	for _, o := range s.Outcomes() {
		fmt.Fprintf(&b, "%s %s/%s", o.Object.Kind, o.Object.Namespace, o.Object.Name)
		if o.Gone {
			b.WriteString(" gone")
		}
		b.WriteString("\n")
		if o.Result != nil {
			renderConditions(&b, "  ", status.Conditions(*o.Result, o.Generation))
		}
		for _, p := range o.Parents {
			fmt.Fprintf(&b, "  %s\n", model.Brief(p.Ref))
			renderConditions(&b, "    ", status.Conditions(p.Result, o.Generation))
		}
	}
	return b.String()
}

func renderConditions(b *strings.Builder, indent string, list []metav1.Condition) {
	for _, c := range list {
		fmt.Fprintf(b, "%s%s=%s %s @%d", indent, c.Type, c.Status, c.Reason, c.ObservedGeneration)
		if c.Message != "" {
			fmt.Fprintf(b, " %q", c.Message)
		}
		b.WriteString("\n")
	}
}
