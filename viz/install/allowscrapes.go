package install

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/install"
)

// AllowScrapes returns the policy that lets the extension's Prometheus read the proxies of a namespace, and nobody
// else. It is Linkerd's, for those who have it in their repositories: proxies of this mesh serve their metrics to
// everybody whatever the policy says, as the kubelet's probes come to the same port.
func AllowScrapes(namespace string, t Target) ([]byte, error) {
	if problems := validation.IsDNS1123Label(namespace); problems != nil {
		return nil, fmt.Errorf("namespace %q: %s", namespace, strings.Join(problems, "; "))
	}
	t, err := t.withDefaults()
	if err != nil {
		return nil, err
	}
	out, err := install.NewStream(manifests)
	if err != nil {
		return nil, err
	}
	data := struct{ ScrapedNamespace, Namespace, CLIVersion string }{namespace, t.Namespace, t.Version}
	if err := out.Add("allow-scrapes.yaml", data); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
