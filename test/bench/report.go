package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// page is what the report's template sees.
type page struct {
	Date, Machine, Mode  string
	Blocks, Noisy, Total int
	HTTPRate, GRPCRate   float64
	Systems              []line
	Required, Aspired    string
	Tables               []line
	Plots                []line
	Failed               []line
}

// line is a name and what there is to say about it.
type line struct{ Name, Text string }

// write writes results.json, the plots and the report.
func (b *bench) write() error {
	b.addBinary()
	lists := [][]target{required, aspired}
	if b.options.config.Before != "" {
		lists = append(lists, unchanged)
	}
	if b.options.config.Tapped != "" {
		lists = append(lists, tapCost)
	}
	r := b.samples.results(lists...)
	if err := r.write(b.options.results); err != nil {
		return err
	}
	plots, err := b.plots(filepath.Join(filepath.Dir(b.options.report), "performance"))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := reportTemplate.Execute(&text, b.page(r, plots)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(b.options.report, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	fmt.Printf("\n%s\n", ratioTable(r.Ratios[:len(required)]))
	if against := r.Ratios[len(required)+len(aspired):]; len(against) > 0 {
		fmt.Printf("%s\n", ratioTable(against))
	}
	fmt.Printf("wrote %s and %s\n", b.options.results, b.options.report)
	return nil
}

// addBinary records the size of Tulle's proxy, which no lane measures.
func (b *bench) addBinary() {
	if info, err := os.Stat(b.options.config.Tulle); err == nil {
		b.samples.values[key{"W0", "tulle", "binary"}] = map[int]float64{0: float64(info.Size())}
	}
}

func (b *bench) page(r results, plots []line) page {
	p := page{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), Mode: b.options.scale, Blocks: b.plan.blocks,
		Noisy: b.samples.noisy,
		Total: b.samples.total, HTTPRate: b.rates["http"], GRPCRate: b.rates["grpc"], Plots: plots,
		Required: ratioTable(r.Ratios[:len(required)]), Aspired: ratioTable(r.Ratios[len(required):]),
	}
	for _, s := range b.systems {
		said := s.Long
		if s.Missing != "" {
			said += ": **not run** (" + s.Missing + ")"
		} else if s.Hybrid {
			said += "; X25519MLKEM768"
		} else if s.Name != "direct" && s.Name != "null" {
			said += "; X25519 (its TLS library knows no hybrid)"
		}
		p.Systems = append(p.Systems, line{s.Name, said})
	}
	for _, w := range b.workloads {
		if table := b.table(r, w.name); table != "" {
			p.Tables = append(p.Tables, line{w.name + ": " + w.title, table})
		}
	}
	for what, why := range b.samples.failed {
		p.Failed = append(p.Failed, line{what, why})
	}
	return p
}

// table is one workload's medians: a line a figure, a column a system.
func (b *bench) table(r results, workload string) string {
	values := map[string]map[string]row{}
	var order []string
	for _, v := range r.Rows {
		if v.Workload != workload {
			continue
		}
		if values[v.Figure] == nil {
			values[v.Figure] = map[string]row{}
			order = append(order, v.Figure)
		}
		values[v.Figure][v.System] = v
	}
	if len(order) == 0 {
		return ""
	}
	var names []string
	for _, s := range b.systems {
		if s.Missing == "" {
			names = append(names, s.Name)
		}
	}
	var t strings.Builder
	fmt.Fprintf(&t, "| figure | unit | %s |\n|---|---|%s\n", strings.Join(names, " | "),
		strings.Repeat("---:|", len(names)))
	for _, figure := range order {
		unit := ""
		cells := make([]string, len(names))
		for i, name := range names {
			cells[i] = "–"
			if row, ok := values[figure][name]; ok {
				cells[i], unit = short(row.Value), row.Unit
			}
		}
		fmt.Fprintf(&t, "| %s | %s | %s |\n", figure, unit, strings.Join(cells, " | "))
	}
	return t.String()
}

func ratioTable(ratios []ratio) string {
	var t strings.Builder
	t.WriteString(
		"| workload | figure | against | ratio | 95 % interval | target | met |\n|---|---|---|---:|---|---:|---|\n")
	for _, r := range ratios {
		sign := "≤"
		if r.target.atLeast {
			sign = "≥"
		}
		value, spread, met := "not run", "", ""
		if r.Ratio != nil {
			value, spread, met = short(*r.Ratio), short(round(r.low))+" – "+short(round(r.high)), "**no**"
			if *r.Met {
				met = "yes"
			}
		}
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s %g | %s |\n", r.Workload, r.Figure, r.VS, value, spread, sign,
			r.Target, met)
	}
	return t.String()
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}

// machine names CPU and kernel.
func machine() string {
	model, cores := "", 0
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for text := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(text, ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				cores++
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // the report does without
	return fmt.Sprintf("%d × %s, Linux %s", cores, model, strings.TrimSpace(string(kernel)))
}
