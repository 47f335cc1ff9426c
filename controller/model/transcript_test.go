package model

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

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
	s := New(testConfig())
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

func playObjects(t *testing.T, out *strings.Builder, s *Store, body string, deleted bool) {
	t.Helper()
	var problems []Problem
	for _, o := range objects(t, body) {
		problems = append(problems, s.Apply(Event{Object: o, Deleted: deleted}).Problems...)
	}
	if len(problems) == 0 {
		return
	}
	out.WriteString("-- problems --\n")
	for _, p := range problems {
		fmt.Fprintf(out, "%s %s/%s: %s\n", p.Object.Kind, p.Object.Namespace, p.Object.Name, p.Message)
	}
	out.WriteString("\n")
}

func playQuestion(t *testing.T, s *Store, text string) string {
	t.Helper()
	who, what, _ := strings.Cut(text, " ")
	pod, node, _ := strings.Cut(who, "@")
	namespace, podName, _ := strings.Cut(pod, "/")
	var target mesh.Target
	if what != "inbound" {
		target.Addr = netip.MustParseAddrPort(what)
	}
	snap := Build(s)
	return render(Resolve(s, snap, Narrow(s, snap, target, Asker{Namespace: namespace, Pod: podName, Node: node})))
}

func render(a Answer) string {
	var b strings.Builder
	switch {
	case a.Outbound != nil:
		o := a.Outbound
		kind := [...]string{"unknown", "service", "pod", "undefined port"}[o.Kind]
		fmt.Fprintf(&b, "%s", kind)
		if !o.Service.IsZero() {
			fmt.Fprintf(&b, " %s/%s:%d", o.Service.Namespace, o.Service.Name, o.Service.Port)
		}
		if o.Authority != "" {
			fmt.Fprintf(&b, " authority=%s", o.Authority)
		}
		fmt.Fprintf(&b, " %s\n", o.Protocol)
		for _, e := range o.Endpoints {
			fmt.Fprintf(&b, "  %s %s zone=%q local=%v id=%q", e.Addr, e.Protocol, e.Zone, e.Local, e.Identity)
			if p := e.Pod; p != (mesh.PodRef{}) {
				fmt.Fprintf(&b, " pod=%s/%s sa=%s owner=%s/%s", p.Namespace, p.Name, p.ServiceAccount, p.OwnerKind, p.OwnerName)
			}
			b.WriteString("\n")
		}
	case a.Inbound != nil:
		in := a.Inbound
		fmt.Fprintf(&b, "inbound default=%s opaque=%s require-identity=%s networks=%v\n", in.Default.Policy, in.OpaquePorts,
			in.RequireIdentityPorts, in.ClusterNetworks)
		for _, port := range slices.Sorted(maps.Keys(in.Ports)) {
			renderPort(&b, port, in.Ports[port])
		}
	default:
		b.WriteString("nothing\n")
	}
	return b.String()
}

func objects(t *testing.T, text string) []metav1.Object {
	t.Helper()
	var out []metav1.Object
	for doc := range bytes.SplitSeq([]byte(text), []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		var o metav1.Object
		switch kind.Kind {
		case "Service":
			o = &corev1.Service{}
		case "EndpointSlice":
			o = &discoveryv1.EndpointSlice{}
		case "Pod":
			o = &corev1.Pod{}
		case "Namespace":
			o = &corev1.Namespace{}
		case "Node":
			o = &corev1.Node{}
		case "Server":
			o = &v1alpha1.Server{}
		case "AuthorizationPolicy":
			o = &v1alpha1.AuthorizationPolicy{}
		case "ServerAuthorization":
			o = &v1alpha1.ServerAuthorization{}
		case "MeshTLSAuthentication":
			o = &v1alpha1.MeshTLSAuthentication{}
		case "NetworkAuthentication":
			o = &v1alpha1.NetworkAuthentication{}
		case "HTTPLocalRateLimitPolicy":
			o = &v1alpha1.HTTPLocalRateLimitPolicy{}
		default:
			t.Fatalf("unknown kind %q in:\n%s", kind.Kind, doc)
		}
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		out = append(out, o)
	}
	return out
}

func testConfig() Config {
	return Config{
		TrustDomain:           "cluster.local",
		ClusterDomain:         "cluster.local",
		ControlPlaneNamespace: "tulle",
		ClusterNetworks:       []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		DefaultPolicy:         mesh.AllUnauthenticated,
		DefaultOpaquePorts:    mesh.PortSet{{First: 25, Last: 25}, {First: 3306, Last: 3306}},
	}
}
