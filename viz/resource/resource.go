// Package resource is what the viz commands can be asked about: kinds of objects, and how people name them.
//
// It owns the table of kinds, the names of their metrics' labels and the reading of arguments. It reaches no cluster.
// The one idea: a kind is one row of a table, so that a new kind needs no code in the commands.
package resource

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/internal/spelling"
)

// Kind is one kind of object that metrics name.
type Kind struct {
	// Name is the singular in lower case, Plural the resource in the API. Short are the short names; tables write the
	// first.
	Name, Plural string
	Short        []string
	// Group is the API group; "" for the core group, and for a kind that is not in the cluster.
	Group string
	// Source is the label that names the object on the series of its own pods' proxies; "" if there is none.
	Source string
	// Destination is the label that names it on the series of its clients' proxies; "" if there is none.
	Destination string
	// Class says which series count for the kind.
	Class Class
}

// Class says how the numbers of a kind are found.
type Class int

// The classes of kinds.
const (
	// Workload is the class of pods, of workloads and of namespaces. The series of their proxies carry their label.
	Workload Class = iota
	// ByPod is the class of workloads whose owner the label names instead, such as Jobs. Their numbers are those of their
	// pods.
	ByPod
	// Called is the class of Services and authorities. Only the series of clients name them.
	Called
	// Policy is the class of objects that decide at a server. The inbound series of servers name them.
	Policy
	// Route is the class of routes. The series of servers or of clients name them.
	Route
)

// The groups of kinds that are not Kubernetes's own.
const (
	PolicyGroup  = "policy.linkerd.io"
	GatewayGroup = "gateway.networking.k8s.io"
)

// Namespace is the name of the one kind whose objects are in no namespace.
const Namespace = "namespace"

// kinds is the table, in the order in which `all` lists them.
var kinds = []Kind{
	{Namespace, "namespaces", []string{"ns"}, "", "namespace", "dst_namespace", Workload},
	{"cronjob", "cronjobs", []string{"cj"}, "batch", "cronjob", "dst_cronjob", Workload},
	{"daemonset", "daemonsets", []string{"ds"}, "apps", "daemonset", "dst_daemonset", Workload},
	{"deployment", "deployments", []string{"deploy"}, "apps", "deployment", "dst_deployment", Workload},
	{"job", "jobs", nil, "batch", "pod", "dst_pod", ByPod},
	{"pod", "pods", []string{"po"}, "", "pod", "dst_pod", Workload},
	{"replicaset", "replicasets", []string{"rs"}, "apps", "pod", "dst_pod", ByPod},
	{"replicationcontroller", "replicationcontrollers", []string{"rc"}, "", "replicationcontroller",
		"dst_replicationcontroller", Workload},
	{"statefulset", "statefulsets", []string{"sts"}, "apps", "statefulset", "dst_statefulset", Workload},
	{"service", "services", []string{"svc"}, "", "", "dst_service", Called},
	{"authority", "authorities", []string{"au"}, "", "", "authority", Called},
	{"server", "servers", []string{"srv"}, PolicyGroup, "srv_name", "", Policy},
	{"serverauthorization", "serverauthorizations", []string{"saz", "serverauthz", "srvauthz"}, PolicyGroup,
		"authz_name", "", Policy},
	{"authorizationpolicy", "authorizationpolicies", []string{"ap", "authzpolicy"}, PolicyGroup, "authz_name", "",
		Policy},
	{"httproute", "httproutes", []string{"httproute"}, GatewayGroup, "route_name", "route_name", Route},
	{"grpcroute", "grpcroutes", []string{"grpcroute"}, GatewayGroup, "route_name", "route_name", Route},
}

// All is the argument for every kind but namespaces and ReplicaSets, whose numbers are the sums of other kinds'.
const All = "all"

// Kinds returns every kind.
func Kinds() []Kind { return slices.Clone(kinds) }

// Prefix returns how tables write the kind before a name, as in deploy/web.
func (k Kind) Prefix() string {
	if len(k.Short) > 0 {
		return k.Short[0]
	}
	return k.Name
}

// HasPods reports whether the object is a pod or has pods.
func (k Kind) HasPods() bool { return k.Class == Workload || k.Class == ByPod }

// InCluster reports whether the cluster has objects of the kind. An authority is only a name in requests.
func (k Kind) InCluster() bool { return k.Name != "authority" }

// ParseKind returns the kind that s names: by singular, plural or short name, with or without a dot and the group.
func ParseKind(s string) (Kind, error) {
	name, group, _ := strings.Cut(strings.ToLower(s), ".")
	var names []string
	for _, k := range kinds {
		all := append([]string{k.Name, k.Plural}, k.Short...)
		if slices.Contains(all, name) && group == "" {
			return k, nil
		}
		if slices.Contains(all, name) && (group == k.Group || k.Class == Route && group == PolicyGroup) {
			return k, nil
		}
		names = append(names, all...)
	}
	if nearest, ok := spelling.Nearest(name, names); ok && group == "" {
		return Kind{}, fmt.Errorf("resource type %q: unknown; did you mean %q?", s, nearest)
	}
	plurals := make([]string, len(kinds))
	for i, k := range kinds {
		plurals[i] = k.Plural
	}
	return Kind{}, fmt.Errorf("resource type %q: unknown; want one of %s", s, strings.Join(plurals, ", "))
}

// Target is a kind and the names of its objects that a command is about; no names mean all.
type Target struct {
	Kind  Kind
	Names []string
}

// Parse reads arguments as kubectl does: "deploy", "deploy web api", "deploy/web po/db-0", or "all". Targets of one
// kind are joined.
func Parse(args []string) ([]Target, error) {
	if len(args) == 0 {
		return nil, errors.New("name a resource, such as deploy or deploy/web")
	}
	if args[0] == All {
		if len(args) > 1 {
			return nil, fmt.Errorf("%q stands for every resource; nothing may follow it", All)
		}
		var targets []Target
		for _, k := range kinds {
			if k.Name != Namespace && k.Name != "replicaset" {
				targets = append(targets, Target{Kind: k})
			}
		}
		return targets, nil
	}
	if !strings.Contains(args[0], "/") {
		k, err := ParseKind(args[0])
		if err != nil {
			return nil, err
		}
		for _, name := range args[1:] {
			if name == "" || strings.Contains(name, "/") {
				return nil, fmt.Errorf("%q after %q: want a name; or write every resource as kind/name", name, args[0])
			}
		}
		return []Target{{k, args[1:]}}, nil
	}
	return parsePairs(args)
}

func parsePairs(args []string) (targets []Target, err error) {
	for _, arg := range args {
		kind, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q: want kind/name, such as deploy/web", arg)
		}
		k, err := ParseKind(kind)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(targets, func(t Target) bool { return t.Kind.Name == k.Name })
		if i < 0 {
			i, targets = len(targets), append(targets, Target{Kind: k})
		}
		if !slices.Contains(targets[i].Names, name) {
			targets[i].Names = append(targets[i].Names, name)
		}
	}
	return targets, nil
}

// Peer is the other end of the traffic that a command is about. Name is "" for any object of the kind.
type Peer struct {
	Kind      Kind
	Name      string
	Namespace string
}

// ParsePeer reads the value of --to or --from, as in deploy/api or deploy. namespace is that of the result.
func ParsePeer(flag, s, namespace string) (*Peer, error) {
	kind, name, _ := strings.Cut(s, "/")
	k, err := ParseKind(kind)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if strings.Contains(name, "/") {
		return nil, fmt.Errorf("--%s %q: want kind/name, such as deploy/web", flag, s)
	}
	return &Peer{k, name, namespace}, nil
}
