package model

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// Config is what the installation says about the cluster. Every field but ClusterNetworks must be set.
type Config struct {
	TrustDomain           string
	ClusterDomain         string
	ControlPlaneNamespace string
	// ClusterNetworks is what the cluster-* access policies call the cluster.
	ClusterNetworks []netip.Prefix
	// DefaultPolicy and DefaultOpaquePorts hold for pods and namespaces that say nothing.
	DefaultPolicy      mesh.AccessPolicy
	DefaultOpaquePorts mesh.PortSet
}

// Store holds one record of every object, and the indexes that make an answer cost only what the answer is about.
// Apply replaces records and never changes them, but for what they cache (route.resolved, profile.resolved).
type Store struct {
	config Config

	services   map[types.NamespacedName]*compile.Service
	slices     map[types.NamespacedName]*compile.EndpointSlice
	pods       map[types.NamespacedName]*compile.Pod
	namespaces map[string]compile.Settings
	// revoked is what the control plane's namespace says, and revokedErrors are the mistakes in it that were reported.
	revoked       mesh.Revoked
	revokedErrors string
	zones         map[string]string // of nodes

	serviceByIP     map[netip.Addr]*compile.Service
	slicesByService map[types.NamespacedName][]*compile.EndpointSlice
	slicesByIP      map[netip.Addr][]*compile.EndpointSlice
	podsByIP        map[netip.Addr][]*compile.Pod // without pods of the host network

	access access
	routing
	outcomes outcomes
}

// New returns an empty Store.
func New(c Config) *Store {
	return &Store{
		config:          c,
		services:        map[types.NamespacedName]*compile.Service{},
		slices:          map[types.NamespacedName]*compile.EndpointSlice{},
		pods:            map[types.NamespacedName]*compile.Pod{},
		namespaces:      map[string]compile.Settings{},
		zones:           map[string]string{},
		serviceByIP:     map[netip.Addr]*compile.Service{},
		slicesByService: map[types.NamespacedName][]*compile.EndpointSlice{},
		slicesByIP:      map[netip.Addr][]*compile.EndpointSlice{},
		podsByIP:        map[netip.Addr][]*compile.Pod{},
		access:          newAccess(),
		routing:         newRouting(),
	}
}

// link adds v to the list under k, and unlink takes it away. Lists are short: an address has one pod, a Service a few
// slices.
func link[K comparable, V comparable](index map[K][]V, k K, v V) {
	if !slices.Contains(index[k], v) {
		index[k] = append(index[k], v)
	}
}

func unlink[K comparable, V comparable](index map[K][]V, k K, v V) {
	list := slices.DeleteFunc(index[k], func(x V) bool { return x == v })
	if len(list) == 0 {
		delete(index, k)
		return
	}
	index[k] = list
}

// servicesAt returns the ClusterIPs of the Services that have addr as an endpoint, and of those that send to these.
func (s *Store) servicesAt(addr netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, sl := range s.slicesByIP[addr] {
		if svc := s.services[sl.Service]; svc != nil {
			out = append(out, svc.ClusterIPs...)
			out = append(out, s.senderAddrs(svc.NamespacedName)...)
		}
	}
	return out
}

func unique(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// Services returns how many Services the store knows.
func (s *Store) Services() int { return len(s.services) }

// Pods returns how many pods that have not ended the store knows.
func (s *Store) Pods() int { return len(s.pods) }
