package inbound

import "testing"

func TestEverySpellingOfTheClientsNameIsTheProxys(t *testing.T) {
	for name, want := range map[string]bool{
		"l5d-client-id": true, "L5D-Client-ID": true, "l5d_client_id": true, "l5d.client.id": true, "l5d~client!id": true,
		"l5d-client-idx": false, "l5d-clientxid": false, "x-l5d-client-id": false, "l5d-client-i-": false,
	} {
		if got := isClientID([]byte(name)); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
