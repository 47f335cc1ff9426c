package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is JSON; its keys are written in order.
type object = map[string]any

// board is a dashboard.
type board struct {
	name, title, description string

	variables []object
	rows      []row
}

type row struct {
	title  string
	panels []panel
}

// panel is one of a dashboard's. The size is in Grafana's grid of 24 columns.
type panel struct {
	kind, title, unit, description string

	width, height int
	queries       []query
	// links are, by column of a table, the name of the dashboard that a cell leads to.
	links map[string]string
}

// query is PromQL, and how Grafana names each series of the answer: in a table, the title of the column, which has a
// unit of its own.
type query struct{ expr, legend, unit string }

func q(expr, legend string) query { return query{expr, legend, ""} }

func graph(title, unit, description string, queries ...query) panel {
	return panel{kind: "timeseries", title: title, unit: unit, description: description, width: 8, height: 8,
		queries: queries}
}

func stat(title, unit, description, expr string) panel {
	return panel{kind: "stat", title: title, unit: unit, description: description, width: 4, height: 4,
		queries: []query{q(expr, "")}}
}

// table shows the labels of each series, and for each query a column that has its legend as title.
func table(title, description string, links map[string]string, queries ...query) panel {
	return panel{kind: "table", title: title, unit: "short", description: description, width: 24, height: 8,
		queries: queries, links: links}
}

// source lets the reader choose the Prometheus.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// choose is a variable whose values are those of label in the series of selector; "All" matches each.
func choose(name, label, selector string) object {
	text := fmt.Sprintf("label_values(%s, %s)", withJobs(selector), label)
	return object{
		"name": name, "type": "query", "datasource": source, "definition": text,
		"query":   object{"query": text, "refId": "StandardVariableQuery"},
		"refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".+",
		"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}, "options": []any{},
	}
}

// oneOf is a variable with fixed values; the first is the default.
func oneOf(name string, values ...string) object {
	var options []object
	list := ""
	for i, v := range values {
		options = append(options, object{"text": v, "value": v, "selected": i == 0})
		if i > 0 {
			list += ","
		}
		list += v
	}
	return object{"name": name, "type": "custom", "query": list, "options": options, "current": options[0]}
}

// json returns the dashboard as Grafana imports it.
func (b board) json() ([]byte, error) {
	variables := append([]object{{
		"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
		"current": object{}, "options": []any{},
	}}, b.variables...)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(object{
		"id": nil, "uid": uid(b.name), "title": "Tulle / " + b.title, "description": b.description,
		"tags": []string{"tulle", "linkerd"}, "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
		"refresh": "30s", "time": object{"from": "now-1h", "to": "now"}, "timepicker": object{}, "timezone": "browser",
		"annotations": object{"list": []any{}}, "templating": object{"list": variables},
		"links": []object{{
			"title": "Tulle", "type": "dashboards", "tags": []string{"tulle"}, "asDropdown": false, "icon": "dashboard",
			"keepTime": true, "includeVars": true, "targetBlank": false,
		}},
		"panels": b.panels(),
	})
	return out.Bytes(), err
}

// uid identifies a dashboard in links, in every Grafana.
func uid(name string) string { return "tulle-" + name }

// panels lays the rows out from left to right and from top to bottom.
func (b board) panels() (out []object) {
	y := 0
	add := func(o object, x, width, height int) {
		o["id"] = len(out) + 1
		o["gridPos"] = object{"x": x, "y": y, "w": width, "h": height}
		out = append(out, o)
	}
	for _, r := range b.rows {
		add(object{"type": "row", "title": r.title, "collapsed": false, "panels": []any{}}, 0, 24, 1)
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y, height = 0, y+height, 0
			}
			add(p.object(), x, p.width, p.height)
			x, height = x+p.width, max(height, p.height)
		}
		y += height
	}
	return out
}

func (p panel) object() object {
	var targets []object
	for i, one := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source, "expr": withJobs(one.expr), "editorMode": "code"}
		if one.legend != "" {
			t["legendFormat"] = one.legend
		}
		if p.kind == "timeseries" {
			t["range"] = true
		} else {
			t["instant"] = true
		}
		if p.kind == "table" {
			t["format"] = "table"
		}
		targets = append(targets, t)
	}
	defaults := object{"unit": p.unit, "color": object{"mode": "palette-classic"}}
	if p.unit == "percentunit" {
		defaults["min"], defaults["max"], defaults["decimals"] = 0, 1, 2
	}
	o := object{
		"type": p.kind, "title": p.title, "description": p.description, "datasource": source, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": p.overrides()}, "options": options[p.kind],
	}
	if p.kind == "table" {
		rename := object{}
		for i, one := range p.queries {
			rename["Value #"+string(rune('A'+i))] = one.legend
		}
		if len(p.queries) == 1 {
			rename = object{"Value": p.queries[0].legend}
		}
		o["transformations"] = []object{
			{"id": "merge", "options": object{}},
			{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "renameByName": rename}},
		}
	}
	return o
}

// overrides makes the cells of some columns links, and gives columns their units.
func (p panel) overrides() []object {
	out := []object{}
	for _, column := range []string{"namespace", "dst_service", "parent_name"} { // in order
		to, ok := p.links[column]
		if !ok {
			continue
		}
		variable := "service"
		if column == "namespace" {
			variable = column
		}
		out = append(out, object{
			"matcher": object{"id": "byName", "options": column},
			"properties": []object{{"id": "links", "value": []object{{
				"title": "Show ${__value.text}",
				"url":   "/d/" + uid(to) + "?var-" + variable + "=${__value.text}&${datasource:queryparam}&${__url_time_range}",
			}}}},
		})
	}
	for _, one := range p.queries {
		if one.unit != "" {
			out = append(out, object{
				"matcher":    object{"id": "byName", "options": one.legend},
				"properties": []object{{"id": "unit", "value": one.unit}},
			})
		}
	}
	return out
}

var options = map[string]object{
	"timeseries": {
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []any{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	},
	"stat": {
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		"colorMode":     "value", "graphMode": "none", "textMode": "value",
	},
	"table": {"showHeader": true, "sortBy": []any{}},
}
