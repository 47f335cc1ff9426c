package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// chart is one picture: bars of one figure, a bar a system.
type chart struct {
	file, title, workload, figure, axis string
	scale                               float64
	added                               bool
}

var charts = []chart{
	{"w1-cpu", "HTTP/1 GET: CPU a request, pair of proxies", "W1", "isolated.cpu", "µs", 1, false},
	{"w1-throughput", "HTTP/1 GET: throughput on two shared CPUs", "W1", "shared.throughput", "thousand requests a second",
		1e-3, false},
	{"w1-p50", "HTTP/1 GET at half load: p50 that the pair adds", "W1", "shared.high.p50", "µs", 1, true},
	{"w1-p99", "HTTP/1 GET at half load: p99 that the pair adds", "W1", "shared.high.p99", "µs", 1, true},
	{"w3-cpu", "gRPC unary: CPU a call, pair of proxies", "W3", "isolated.cpu", "µs", 1, false},
	{"w5-bulk", "opaque TCP: one connection, client to server", "W5", "isolated.up1.gbps", "Gb/s", 1, false},
	{"w0-memory", "idle: anonymous memory of one proxy", "W0", "isolated.rss_anon", "MiB", 1. / (1 << 20), false},
	{"w7-memory", "memory an idle HTTP/1 connection, pair of proxies", "W7", "isolated.per_connection", "KiB",
		1. / (1 << 10), false},
}

// plots draws every chart that has values into dir and returns file and title of each.
func (b *bench) plots(dir string) ([]line, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make plots: %w", err)
	}
	var drawn []line
	for _, c := range charts {
		ok, err := b.draw(c, filepath.Join(dir, c.file+".svg"))
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.file, err)
		}
		if ok {
			drawn = append(drawn, line{filepath.Join("performance", c.file+".svg"), c.title})
		}
	}
	return drawn, nil
}

var (
	plain  = color.RGBA{R: 0xa8, G: 0xb3, B: 0xbd, A: 0xff}
	accent = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
)

// draw draws medians as bars and their 95 % intervals as whiskers; ok is false when there is nothing to draw.
func (b *bench) draw(c chart, path string) (ok bool, err error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = c.title, c.axis
	p.Title.Padding, p.Title.TextStyle.Font.Size = vg.Points(8), vg.Points(12)
	p.Y.Min = 0
	var names []string
	whiskers := &struct {
		plotter.XYs
		plotter.YErrors
	}{}
	for _, s := range b.systems {
		values := b.samples.series(key{c.workload, s.Name, c.figure}, c.added)
		if len(values) == 0 || (s.Name == "direct" && (c.added || median(values) == 0)) {
			continue
		}
		mid := median(values) * c.scale
		low, high := interval(values)
		bar, err := plotter.NewBarChart(plotter.Values{mid}, vg.Points(34))
		if err != nil {
			return false, err
		}
		bar.XMin, bar.Color, bar.LineStyle.Width = float64(len(names)), plain, 0
		if s.Name == "tulle" {
			bar.Color = accent
		}
		p.Add(bar)
		whiskers.XYs = append(whiskers.XYs, plotter.XY{X: float64(len(names)), Y: mid})
		whiskers.YErrors = append(whiskers.YErrors, struct{ Low, High float64 }{mid - low*c.scale, high*c.scale - mid})
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return false, nil
	}
	bars, err := plotter.NewYErrorBars(whiskers)
	if err != nil {
		return false, err
	}
	p.Add(bars)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	p.Y.Max *= 1.1
	return true, p.Save(vg.Points(520), vg.Points(260), path)
}

// series are all values of a key, less the direct path's when added says so.
func (s *samples) series(k key, added bool) []float64 {
	if !added {
		return s.all(k)
	}
	var v []float64
	for block, value := range s.values[k] {
		if base, ok := s.values[key{k.workload, "direct", k.figure}][block]; ok {
			v = append(v, value-base)
		}
	}
	return v
}
