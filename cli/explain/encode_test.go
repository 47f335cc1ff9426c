package explain

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestEncodeWritesAddressesAsText prints an answer with an address, which the API has as bytes.
func TestEncodeWritesAddressesAsText(t *testing.T) {
	endpoints := []mesh.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.7:8080")}}
	message := api.EncodeOutbound(&mesh.Outbound{Endpoints: endpoints})
	for _, format := range []string{"yaml", "json"} {
		data, err := Encode(message, format)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "10.0.0.7:8080") || !strings.HasSuffix(string(data), "\n") {
			t.Errorf("%s: no address in\n%s", format, data)
		}
	}
}
