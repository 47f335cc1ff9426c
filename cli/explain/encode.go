package explain

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// Encode writes a message of the discovery API for people, as yaml or json: as the API has it, but with addresses as
// text.
func Encode(m proto.Message, format string) ([]byte, error) {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	if data, err = json.MarshalIndent(legible(tree), "", "  "); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	if format == "json" {
		return append(data, '\n'), nil
	}
	if data, err = yaml.JSONToYAML(data); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return data, nil
}

// legible writes the API's addresses and networks, whose ip is bytes, as text, and leaves out what is empty.
func legible(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		if text, ok := address(v); ok {
			return text
		}
		for key, value := range v {
			if v[key] = legible(value); empty(v[key]) {
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = legible(v[i])
		}
	}
	return tree
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

func address(v map[string]any) (string, bool) {
	encoded, ok := v["ip"].(string)
	if !ok || len(v) != 2 {
		return "", false
	}
	bytes, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", false
	}
	ip, ok := netip.AddrFromSlice(bytes)
	if !ok {
		return "", false
	}
	if port, ok := v["port"].(float64); ok {
		return netip.AddrPortFrom(ip, uint16(port)).String(), true
	}
	if bits, ok := v["bits"].(float64); ok {
		return netip.PrefixFrom(ip, int(bits)).String(), true
	}
	return "", false
}
