package inject

import (
	"encoding/json"
	"fmt"

	"github.com/wI2L/jsondiff"
)

// Patch returns the RFC 6902 patch that turns before into after, both as JSON encodes them: the same bytes for the same objects,
// and nil where nothing differs. List items are added in place, so that fields of other items which this build does not know
// survive on the server.
func Patch(before, after any) ([]byte, error) {
	ops, err := jsondiff.Compare(before, after, jsondiff.LCS())
	if err != nil {
		return nil, fmt.Errorf("compare objects: %w", err)
	}
	if len(ops) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return patch, nil
}
