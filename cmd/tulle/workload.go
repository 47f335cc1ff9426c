package main

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

// manifestObject is one object of a manifest, in the form it was written.
type manifestObject struct {
	doc  document
	path string // of the object in its document: "", or "items[n]." in a List
	tree map[string]any
}

func (o *manifestObject) kind() string { s, _ := o.tree["kind"].(string); return s }

func (o *manifestObject) meta(key string) string {
	meta, _ := o.tree["metadata"].(map[string]any)
	s, _ := meta[key].(string)
	return s
}

// name is how reports call the object: deployment/web.
func (o *manifestObject) name() string { return strings.ToLower(o.kind()) + "/" + o.meta("name") }

// templatePaths says where the pod template is in each kind that has pods; a Pod is its own template.
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

// template is the pod template of a workload: the tree to change and a typed copy to decide with.
type template struct {
	tree map[string]any
	pod  corev1.Pod
}

// template returns the object's pod template; ok is false for kinds without pods. The error names the field that does not fit.
func (o *manifestObject) template() (t template, ok bool, err error) {
	path, ok := templatePath(o.kind())
	if !ok {
		return template{}, false, nil
	}
	tree, isMap := nested(o.tree, path...)
	where := strings.TrimSuffix(o.path+strings.Join(path, "."), ".")
	if !isMap {
		return template{}, false, o.doc.errorAt(0, where, "is not an object")
	}
	if _, isMap := nested(tree, "metadata"); !isMap {
		return template{}, false, o.doc.errorAt(0, strings.TrimPrefix(where+".metadata", "."), "is not an object")
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return template{}, false, fmt.Errorf("encode %s: %w", o.name(), err)
	}
	var typed struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              corev1.PodSpec `json:"spec"`
	}
	if err := json.Unmarshal(data, &typed); err != nil {
		return template{}, false, o.doc.mismatch(where, err)
	}
	return template{tree: tree, pod: corev1.Pod{ObjectMeta: typed.ObjectMeta, Spec: typed.Spec}}, true, nil
}

// maxNesting bounds Lists within Lists.
const maxNesting = 8

// objectsOf returns the objects of a document: itself, or the items of a List, and of Lists among these. A DeploymentList, as kubectl get
// --raw prints it, is a List.
func objectsOf(doc document, tree map[string]any) ([]*manifestObject, error) {
	return listed(doc, "", tree, 0)
}

func listed(doc document, path string, tree map[string]any, depth int) ([]*manifestObject, error) {
	items, isList := tree["items"].([]any)
	kind, _ := tree["kind"].(string)
	itemKind, ok := strings.CutSuffix(kind, "List")
	if !ok || itemKind != "" && !isList {
		o := &manifestObject{doc: doc, path: path, tree: tree}
		return []*manifestObject{o}, o.checkNames()
	}
	field := path + "items"
	if depth == maxNesting {
		return nil, doc.errorAt(0, field, fmt.Sprintf("is in more than %d Lists", maxNesting))
	}
	if !isList && tree["items"] != nil {
		return nil, doc.errorAt(doc.lineOf(field, "object"), field, "is not a list")
	}
	var objects []*manifestObject
	for i, item := range items {
		below, ok := item.(map[string]any)
		if !ok {
			return nil, doc.errorAt(0, fmt.Sprintf("%s[%d]", field, i), "is not an object")
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

// sources returns the files that an argument of inject stands for: itself, or every YAML and JSON file below a directory, sorted.
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
