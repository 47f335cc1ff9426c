package install

import (
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"
)

// Installed returns the values that an installation was rendered with, as its ConfigMap has them.
func Installed(text string) (Values, error) {
	values := Defaults()
	err := yaml.Unmarshal([]byte(text), &values)
	return values, err
}

// Networks returns the networks that the values call the cluster.
func (v *Values) Networks() ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for text := range strings.SplitSeq(v.ClusterNetworks, ",") {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("clusterNetworks: %w", err)
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, nil
}
