package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
)

// Load imports image archives on every node of the running cluster, where they are not there yet.
func (c *Cluster) Load(ctx context.Context, archives []string) error {
	state, err := c.running()
	if err != nil {
		return err
	}
	for _, archive := range archives {
		err := c.progress.Do("load "+filepath.Base(archive),
			func() (string, error) { return loadAll(ctx, state.Nodes, archive) })
		if err != nil {
			return err
		}
	}
	return nil
}

func loadAll(ctx context.Context, nodes []NodeState, archive string) (string, error) {
	image, err := readArchive(archive)
	if err != nil {
		return "", err
	}
	loaded := 0
	for _, node := range nodes {
		found, err := image.on(ctx, node)
		if err != nil {
			return "", err
		}
		if found {
			continue
		}
		if err := load(ctx, node, archive); err != nil {
			return "", err
		}
		loaded++
	}
	if loaded == 0 {
		return image.name + " is there", nil
	}
	return fmt.Sprintf("%s on %d node(s)", image.name, loaded), nil
}

// archived is the image that an archive holds.
type archived struct{ name, digest string }

// on reports whether a node has exactly this image under its name.
func (a archived) on(ctx context.Context, node NodeState) (bool, error) {
	out, err := step.Collect(inNode(ctx, node, "ctr", "--namespace", "k8s.io", "images", "list", "name=="+a.name))
	if err != nil {
		return false, fmt.Errorf("list images of %s: %w", node.Name, err)
	}
	return a.name != "" && strings.Contains(out, a.name) && strings.Contains(out, a.digest), nil
}

// load imports an archive into the containerd of one node. It goes in by stdin: the node may not see the archive's
// folder.
func load(ctx context.Context, node NodeState, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd := inNode(ctx, node, "ctr", "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = file
	if _, err := step.Collect(cmd); err != nil {
		return fmt.Errorf("import %s on %s: %w", archive, node.Name, err)
	}
	return nil
}

// readArchive returns which image an OCI archive holds. An archive of another kind, or of several images, has no single
// name: it is then always imported.
func readArchive(archive string) (archived, error) {
	file, err := os.Open(archive)
	if err != nil {
		return archived{}, fmt.Errorf("open archive: %w", err)
	}
	defer func() { _ = file.Close() }()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return archived{}, nil
		}
		if err != nil {
			return archived{}, fmt.Errorf("read archive %s: %w", archive, err)
		}
		if header.Name == "index.json" {
			return decodeIndex(reader)
		}
	}
}

func decodeIndex(r io.Reader) (archived, error) {
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.NewDecoder(io.LimitReader(r, 1<<20)).Decode(&index); err != nil {
		return archived{}, fmt.Errorf("decode index of archive: %w", err)
	}
	if len(index.Manifests) != 1 {
		return archived{}, nil
	}
	m := index.Manifests[0]
	return archived{name: m.Annotations["io.containerd.image.name"], digest: m.Digest}, nil
}
