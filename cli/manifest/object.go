package manifest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Object is one object of a manifest, in the form it was written.
type Object struct {
	Tree map[string]any
	doc  Document
	path string // of the object in its document: "", or "items[n]." in a List
}

// Kind returns the object's kind, "" without one.
func (o *Object) Kind() string { s, _ := o.Tree["kind"].(string); return s }

// Meta returns a text of the object's metadata, such as name.
func (o *Object) Meta(key string) string {
	meta, _ := o.Tree["metadata"].(map[string]any)
	s, _ := meta[key].(string)
	return s
}

// Annotations returns the object's own annotations, not those of a pod template. A value that is not a text is left
// out.
func (o *Object) Annotations() map[string]string {
	meta, _ := o.Tree["metadata"].(map[string]any)
	tree, _ := meta["annotations"].(map[string]any)
	annotations := map[string]string{}
	for key, value := range tree {
		if text, ok := value.(string); ok {
			annotations[key] = text
		}
	}
	return annotations
}

// Name returns how reports call the object: deployment/web.
func (o *Object) Name() string { return strings.ToLower(o.Kind()) + "/" + o.Meta("name") }

// ErrorAt returns an error that names a field of the object, its document and line.
func (o *Object) ErrorAt(field, message string) error { return o.doc.ErrorAt(0, o.path+field, message) }

// Mismatch explains an error of decoding a field of the object into a Kubernetes type.
func (o *Object) Mismatch(field string, err error) error { return o.doc.mismatch(o.path+field, err) }

// templatePath says where the pod template is in each kind that has pods; a Pod is its own template.
func templatePath(kind string) (path []string, ok bool) {
	switch kind {
	case "Pod":
		return nil, true
	case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job":
		return []string{"spec", "template"}, true
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

// Template is the pod template of a workload: the tree to change and a typed copy to decide with.
type Template struct {
	Tree map[string]any
	Pod  corev1.Pod
	// Path says where the template is in the object: spec.template, or "" for a Pod.
	Path string
}

// Template returns the object's pod template; ok is false for kinds without pods. The error names the field that does
// not fit.
func (o *Object) Template() (t Template, ok bool, err error) {
	path, ok := templatePath(o.Kind())
	if !ok {
		return Template{}, false, nil
	}
	tree, isMap := Nested(o.Tree, path...)
	where := strings.TrimSuffix(o.path+strings.Join(path, "."), ".")
	if !isMap {
		return Template{}, false, o.doc.ErrorAt(0, where, "is not an object")
	}
	if _, isMap := Nested(tree, "metadata"); !isMap {
		return Template{}, false, o.doc.ErrorAt(0, strings.TrimPrefix(where+".metadata", "."), "is not an object")
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return Template{}, false, fmt.Errorf("encode %s: %w", o.Name(), err)
	}
	var typed struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              corev1.PodSpec `json:"spec"`
	}
	if err := json.Unmarshal(data, &typed); err != nil {
		return Template{}, false, o.doc.mismatch(where, err)
	}
	pod := corev1.Pod{ObjectMeta: typed.ObjectMeta, Spec: typed.Spec}
	return Template{Tree: tree, Pod: pod, Path: strings.Join(path, ".")}, true, nil
}

// maxNesting bounds Lists within Lists.
const maxNesting = 8

// objectsOf returns the objects of a document: itself, or the items of a List, and of Lists among these. A
// DeploymentList, as kubectl get --raw prints it, is a List.
func objectsOf(doc Document, tree map[string]any) ([]*Object, error) {
	return listed(doc, "", tree, 0)
}

func listed(doc Document, path string, tree map[string]any, depth int) ([]*Object, error) {
	items, isList := tree["items"].([]any)
	kind, _ := tree["kind"].(string)
	itemKind, ok := strings.CutSuffix(kind, "List")
	if !ok || itemKind != "" && !isList {
		o := &Object{doc: doc, path: path, Tree: tree}
		return []*Object{o}, o.checkNames()
	}
	field := path + "items"
	if depth == maxNesting {
		return nil, doc.ErrorAt(0, field, fmt.Sprintf("is in more than %d Lists", maxNesting))
	}
	if !isList && tree["items"] != nil {
		return nil, doc.ErrorAt(doc.lineOf(field, "object"), field, "is not a list")
	}
	var objects []*Object
	for i, item := range items {
		below, ok := item.(map[string]any)
		if !ok {
			return nil, doc.ErrorAt(0, fmt.Sprintf("%s[%d]", field, i), "is not an object")
		}
		if itemKind != "" && below["kind"] == nil { // the API server leaves it out
			below["kind"], below["apiVersion"] = itemKind, tree["apiVersion"]
		}
		more, err := listed(doc, fmt.Sprintf("%s[%d].", field, i), below, depth+1)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return objects, nil
}

// sources returns the files that an argument of inject stands for: itself, or every YAML and JSON file below a
// directory, sorted.
func sources(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if arg == "-" || strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") || err == nil && !info.IsDir() {
		return []string{arg}, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	err = filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", arg, err)
	}
	if files == nil {
		return nil, fmt.Errorf("read directory %s: no .yaml, .yml or .json file in it", arg)
	}
	return files, nil
}
