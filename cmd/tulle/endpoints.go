package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) endpointsCommand() *cobra.Command {
	var output, from string
	cmd := &cobra.Command{
		Use:   "endpoints AUTHORITY...",
		Short: "Print the endpoints that a proxy is told for a Service",
		Long: `endpoints works out what the destination controller tells a proxy about each authority, name.namespace.svc.cluster.local:port.
It reads the cluster and runs the controller's own rules here, so it answers even while the controller does not; a difference to
what a proxy does shows that the proxy's information is old. Give --from where the answer depends on who asks.`,
		Example: `  tulle diagnostics endpoints web.shop.svc.cluster.local:80
  tulle diagnostics endpoints --from shop/web-5d8f7c-x2x7q -o json db.shop:5432`,
		Args: atLeastOne("an authority, such as web.shop.svc.cluster.local:80"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endpoints(cmd.Context(), args, from, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "format: table or json")
	cmd.Flags().StringVar(&from, "from", "", "namespace/pod whose proxy asks: zone and node matter for some Services")
	return cmd
}

// endpointRow is one endpoint as it is printed. The first keys of the JSON are Linkerd's.
type endpointRow struct {
	Namespace string `json:"namespace"`
	IP        string `json:"ip"`
	Port      uint16 `json:"port"`
	Pod       string `json:"pod"`
	Service   string `json:"service"`
	Weight    uint32 `json:"weight"`
	Protocol  string `json:"protocol"`
	Identity  string `json:"identity,omitempty"`
	Zone      string `json:"zone,omitempty"`
	Local     bool   `json:"local,omitempty"`
}

func (c *cli) endpoints(ctx context.Context, authorities []string, from, output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("output %q: want table or json", output)
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return err
	}
	r, err := newResolver(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return err
	}
	if err := r.askAs(from); err != nil {
		return err
	}
	rows := []endpointRow{}
	for _, authority := range authorities {
		found, err := r.resolve(authority)
		if err != nil {
			return fmt.Errorf("%s: %w", authority, err)
		}
		rows = append(rows, found...)
	}
	if output == "json" {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.err, "No endpoints found.")
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAMESPACE\tIP\tPORT\tPOD\tSERVICE")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", row.Namespace, row.IP, row.Port, row.Pod, row.Service)
	}
	return w.Flush()
}

// resolver answers as the destination controller does, from one reading of the cluster.
type resolver struct {
	store    *model.Store
	snapshot *model.Snapshot
	domain   string
	services []corev1.Service
	slices   []discoveryv1.EndpointSlice
	client   mesh.Client
}

func newResolver(ctx context.Context, cl *cluster.Client, control string) (*resolver, error) {
	config, err := cl.CoreV1().ConfigMaps(control).Get(ctx, configMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no installation in namespace %s; -L names another, `tulle install` makes one", control)
	}
	if err != nil {
		return nil, fmt.Errorf("read the installation's values: %w", err)
	}
	installed := installedValues(learn(config, err))
	if installed.err != nil {
		return nil, installed.err
	}
	v := installed.value
	opaque, err := mesh.ParsePortSet(v.Proxy.OpaquePorts, nil)
	if err != nil {
		return nil, fmt.Errorf("read the installation's values: %w", err)
	}
	networks, err := clusterNetworks(&facts{values: installed})
	if err != nil {
		return nil, err
	}
	r := &resolver{domain: v.ClusterDomain, store: model.New(model.Config{
		TrustDomain: v.TrustDomain(), ClusterDomain: v.ClusterDomain, ControlPlaneNamespace: control, ClusterNetworks: networks,
		DefaultPolicy: v.Proxy.DefaultInboundPolicy, DefaultOpaquePorts: opaque,
	})}
	if err := r.load(ctx, cl); err != nil {
		return nil, err
	}
	configuration, err := kube.ReadConfiguration(ctx, cl.Dynamic)
	if err != nil {
		return nil, fmt.Errorf("read the cluster: %w", err)
	}
	for _, e := range configuration {
		r.store.Apply(e)
	}
	r.snapshot = model.Build(r.store)
	return r, nil
}

// load applies every object that answers are made of.
func (r *resolver) load(ctx context.Context, cl *cluster.Client) error {
	all := metav1.ListOptions{}
	nodes, errNodes := cl.CoreV1().Nodes().List(ctx, all)
	namespaces, errNamespaces := cl.CoreV1().Namespaces().List(ctx, all)
	services, errServices := cl.CoreV1().Services(metav1.NamespaceAll).List(ctx, all)
	endpoints, errSlices := cl.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, all)
	pods, errPods := cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx, all)
	if err := errors.Join(errNodes, errNamespaces, errServices, errSlices, errPods); err != nil {
		return fmt.Errorf("read the cluster: %w", err)
	}
	r.services, r.slices = services.Items, endpoints.Items
	for i := range nodes.Items {
		r.store.Apply(model.Event{Object: &nodes.Items[i]})
	}
	for i := range namespaces.Items {
		r.store.Apply(model.Event{Object: &namespaces.Items[i]})
	}
	for i := range services.Items {
		r.store.Apply(model.Event{Object: &services.Items[i]})
	}
	for i := range endpoints.Items {
		r.store.Apply(model.Event{Object: &endpoints.Items[i]})
	}
	for i := range pods.Items {
		r.store.Apply(model.Event{Object: &pods.Items[i]})
	}
	return nil
}

// askAs makes a pod, namespace/name, the one who asks; "" is a pod without a place.
func (r *resolver) askAs(from string) error {
	if from == "" {
		return nil
	}
	namespace, pod, ok := strings.Cut(from, "/")
	if !ok {
		return fmt.Errorf("--from %q: want namespace/pod", from)
	}
	node, _, ok := r.store.Where(types.NamespacedName{Namespace: namespace, Name: pod})
	if !ok {
		return fmt.Errorf("--from %q: no such pod runs", from)
	}
	r.client = mesh.Client{Namespace: namespace, Pod: pod, Node: node}
	return nil
}

// resolve returns the endpoints of an authority. A headless Service has no address of its own: its clients connect to its pods, so
// each of these is asked about.
func (r *resolver) resolve(authority string) ([]endpointRow, error) {
	svc, port, err := r.service(authority)
	if err != nil {
		return nil, err
	}
	name := svc.Name + "." + svc.Namespace
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil, fmt.Errorf("the Service leads to %s, outside of the cluster; proxies forward it as it is", svc.Spec.ExternalName)
	}
	var targets []netip.AddrPort
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		targets = r.headless(svc, port)
	} else {
		addr, err := netip.ParseAddr(svc.Spec.ClusterIP)
		if err != nil {
			return nil, fmt.Errorf("the Service has no address: %w", err)
		}
		targets = []netip.AddrPort{netip.AddrPortFrom(addr, port)}
	}
	var rows []endpointRow
	for _, target := range targets {
		q := model.QueryFor(r.store, r.snapshot, mesh.Target{Addr: target}, r.client)
		out := model.Resolve(r.store, r.snapshot, q).Outbound
		if out == nil {
			continue
		}
		if out.Kind == mesh.UndefinedPort {
			return nil, fmt.Errorf("Service %s has no port %d; proxies refuse it", name, port)
		}
		for _, e := range out.Endpoints {
			rows = append(rows, newEndpointRow(e, name))
		}
	}
	return rows, nil
}

func newEndpointRow(e mesh.Endpoint, service string) endpointRow {
	return endpointRow{
		Namespace: e.Pod.Namespace, IP: e.Addr.Addr().String(), Port: e.Addr.Port(), Pod: e.Pod.Name, Service: service,
		Weight: max(e.Weight, 1), Protocol: e.Protocol.String(), Identity: e.Identity.String(), Zone: e.Zone, Local: e.Local,
	}
}

// service finds the Service of name.namespace[.svc[.<cluster-domain>]][:port]; without a port the Service's only or first one counts.
func (r *resolver) service(authority string) (*corev1.Service, uint16, error) {
	host, portText, err := net.SplitHostPort(authority)
	if err != nil {
		host, portText = authority, ""
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, "."), "."+r.domain)
	parts := strings.Split(strings.TrimSuffix(host, ".svc"), ".")
	if len(parts) != 2 {
		return nil, 0, fmt.Errorf("want name.namespace.svc.%s:port", r.domain)
	}
	i := slices.IndexFunc(r.services, func(s corev1.Service) bool { return s.Name == parts[0] && s.Namespace == parts[1] })
	if i < 0 {
		return nil, 0, fmt.Errorf("there is no Service %s in namespace %s", parts[0], parts[1])
	}
	svc := &r.services[i]
	if portText == "" && len(svc.Spec.Ports) > 0 {
		return svc, uint16(svc.Spec.Ports[0].Port), nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("port %q: want 1 to 65535", portText)
	}
	return svc, uint16(port), nil
}

// headless returns the pod addresses behind a headless Service's port.
func (r *resolver) headless(svc *corev1.Service, port uint16) []netip.AddrPort {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return uint16(p.Port) == port })
	if i < 0 {
		return nil
	}
	var targets []netip.AddrPort
	for _, slice := range r.slices {
		if slice.Namespace != svc.Namespace || slice.Labels[discoveryv1.LabelServiceName] != svc.Name {
			continue
		}
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name != nil && *p.Name != svc.Spec.Ports[i].Name {
				continue
			}
			for _, e := range slice.Endpoints {
				for _, text := range e.Addresses {
					if addr, err := netip.ParseAddr(text); err == nil {
						targets = append(targets, netip.AddrPortFrom(addr, uint16(*p.Port)))
					}
				}
			}
		}
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return slices.Compact(targets)
}
