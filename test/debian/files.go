package debian

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// libraryFolders are where the dynamic loader of Debian looks without configuration.
var libraryFolders = []string{"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*"}

// maxLinks bounds the symbolic links of one path, as Linux does.
const maxLinks = 40

// pick returns the files of root that the patterns name, with every shared library that they load: path in the image ->
// file here. A symbolic link becomes a copy of its target. A link to nothing is left out: scripts of packages that did
// not run make such targets.
func pick(root string, patterns []string) (map[string]string, error) {
	p := picker{root: root, files: map[string]string{}}
	for _, pattern := range patterns {
		found, err := p.glob(pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("pick files: the packages have no %s", pattern)
		}
		for _, name := range found {
			if err := p.add(name, 0); err != nil {
				return nil, err
			}
		}
	}
	return p.files, p.addLibraries()
}

type picker struct {
	root  string
	files map[string]string
}

func (p picker) glob(pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(p.root, pattern))
	if err != nil {
		return nil, fmt.Errorf("pick files %s: %w", pattern, err)
	}
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], p.root)
	}
	return found, nil
}

// add adds a file, or all files of a folder, under the name that it has in the image.
func (p picker) add(name string, depth int) error {
	if depth > maxLinks {
		return fmt.Errorf("pick files: %s is too deep", name)
	}
	source, err := p.resolve(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("pick files: %w", err)
	}
	if !info.IsDir() {
		p.files[name] = source
		return nil
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return fmt.Errorf("pick files: %w", err)
	}
	for _, entry := range entries {
		if err := p.add(path.Join(name, entry.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// resolve returns the file or folder of this machine that a path means inside root, where an absolute link begins at
// root.
func (p picker) resolve(name string) (string, error) {
	rest, done := strings.Split(strings.Trim(path.Clean(name), "/"), "/"), "/"
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(filepath.Join(p.root, next))
		if err != nil { // not a link, or not there, which the caller's Stat reports
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("pick files: %s has too many links", name)
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	source := filepath.Join(p.root, done)
	_, err := os.Lstat(source)
	return source, err
}

// addLibraries adds what the ELF files load, and what those load, until nothing is missing.
func (p picker) addLibraries() error {
	var folders []string
	for _, pattern := range libraryFolders {
		found, err := p.glob(pattern)
		if err != nil {
			return err
		}
		folders = append(folders, found...)
	}
	present := map[string]bool{} // by base name: programs find libraries of their own folders by rpath
	var queue []string
	for name := range p.files {
		present[path.Base(name)] = true
		queue = append(queue, name)
	}
	for slices.Sort(queue); len(queue) > 0; queue = queue[1:] {
		needed, err := loads(p.files[queue[0]])
		if err != nil {
			return fmt.Errorf("read %s: %w", queue[0], err)
		}
		for _, library := range needed {
			if present[path.Base(library)] {
				continue
			}
			name, source, err := p.find(library, folders)
			if err != nil {
				return fmt.Errorf("%s: %w", queue[0], err)
			}
			p.files[name] = source
			present[path.Base(library)] = true
			queue = append(queue, name)
		}
	}
	return nil
}

// find looks for a library by its name, or for the loader by its path.
func (p picker) find(library string, folders []string) (name, source string, err error) {
	candidates := []string{library}
	if !path.IsAbs(library) {
		candidates = candidates[:0]
		for _, folder := range folders {
			candidates = append(candidates, path.Join(folder, library))
		}
	}
	for _, name := range candidates {
		if source, err := p.resolve(name); err == nil {
			return name, source, nil
		}
	}
	return "", "", fmt.Errorf("library %s is in no package", library)
}

// loads returns the loader and the libraries that an ELF file names; other files name none.
func loads(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := f.ReadAt(magic, 0); err != nil || string(magic) != elf.ELFMAG {
		return nil, nil
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	libraries, err := program.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, header := range program.Progs {
		if header.Type != elf.PT_INTERP {
			continue
		}
		loader := make([]byte, header.Filesz)
		if _, err := header.ReadAt(loader, 0); err != nil {
			return nil, err
		}
		libraries = append(libraries, string(bytes.TrimRight(loader, "\x00")))
	}
	return libraries, nil
}
