package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// entry is a file in an archive. Its content is data, or that of a file where data is nil.
type entry struct {
	name string
	file string
	data []byte
	mode fs.FileMode
}

func (e entry) content() ([]byte, error) {
	if e.data != nil {
		return e.data, nil
	}
	return os.ReadFile(e.file)
}

// writeTarGzip writes entries in their order, all of one time and of root.
func writeTarGzip(w io.Writer, entries []entry, at time.Time) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := tar.NewWriter(compressed)
	for _, e := range entries {
		data, err := e.content()
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: int64(e.mode), Size: int64(len(data)), ModTime: at,
			Format: tar.FormatUSTAR,
		}); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if _, err := out.Write(data); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

// writeZip writes entries in their order, all of one time.
func writeZip(w io.Writer, entries []entry, at time.Time) error {
	out := zip.NewWriter(w)
	for _, e := range entries {
		data, err := e.content()
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at}
		header.SetMode(e.mode)
		file, err := out.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if _, err := file.Write(data); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return out.Close()
}

// chartEntries returns the files of a chart, with Chart.yaml first, as Helm writes them: in a folder of the chart's
// name. Helm's own package command would give each file the time of packaging.
func chartEntries(dir, version string) ([]entry, error) {
	data, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		return nil, err
	}
	chart := map[string]any{}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		return nil, fmt.Errorf("read Chart.yaml: %w", err)
	}
	name, _ := chart["name"].(string)
	if name == "" || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("Chart.yaml: name is %q, want that of the chart", name)
	}
	chart["version"], chart["appVersion"] = strings.TrimPrefix(version, "v"), version
	if data, err = yaml.Marshal(chart); err != nil {
		return nil, fmt.Errorf("write Chart.yaml: %w", err)
	}
	entries := []entry{{name: name + "/Chart.yaml", data: data, mode: 0o644}}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, file)
		if err != nil || relative == "Chart.yaml" || filepath.Ext(file) == ".go" { // Go embeds the chart with this code
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", file)
		}
		entries = append(entries, entry{name: path.Join(name, filepath.ToSlash(relative)), file: file, mode: 0o644})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, checkIgnored(dir)
}

// checkIgnored checks that the chart's .helmignore leaves out what chartEntries leaves out, and nothing else.
func checkIgnored(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, ".helmignore"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if line := strings.TrimSpace(string(line)); line != "" && !strings.HasPrefix(line, "#") && line != "*.go" {
			return fmt.Errorf(".helmignore: pattern %q is not known here: teach chartEntries in tools/release about it", line)
		}
	}
	return nil
}
