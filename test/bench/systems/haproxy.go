package systems

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

func haproxy() *System {
	return &System{Name: "haproxy", Long: "haproxy: HTTP/2 between the two, http-reuse always; mode tcp for opaque bytes",
		Entry:   outer,
		Missing: installed("haproxy"),
		Commands: func(s Setup) ([]lab.Command, error) {
			var commands []lab.Command
			for _, side := range []string{"in", "out"} {
				path := filepath.Join(s.Dir, "haproxy-"+side+".cfg")
				if err := render(path, haproxyConfig, side, s); err != nil {
					return nil, err
				}
				commands = append(commands, lab.Command{Name: "haproxy-" + side, Path: "haproxy", Args: []string{"-db", "-f", path},
					CPUs: s.CPUs})
			}
			return commands, nil
		}}
}

var haproxyConfig = template.Must(template.New("haproxy").Parse(`global
  nbthread {{.Threads}}
  maxconn 8192
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode {{if eq .Kind "tcp"}}tcp{{else}}http{{end}}
  timeout connect 5s
  timeout client 10m
  timeout server 10m
{{- if ne .Kind "tcp"}}
  http-reuse always
{{- end}}
{{- $alpn := ""}}{{if ne .Kind "tcp"}}{{$alpn = " alpn h2"}}{{end}}
{{- $outer := ""}}{{if eq .Kind "grpc"}}{{$outer = " proto h2"}}{{end}}
{{- if eq .Side "out"}}
listen out
  bind {{.Out}}{{$outer}}
  server in {{.In}} ssl crt {{.PKI.Client.Bundle}} ca-file {{.PKI.Roots}} verify required verifyhost {{.PKI.Server.Name}}{{$alpn}}
{{- if ne .Kind "tcp"}} proto h2{{end}}
{{- else}}
listen in
  bind {{.In}} ssl crt {{.PKI.Server.Bundle}} ca-file {{.PKI.Roots}} verify required{{$alpn}}
  server app {{.App}}{{$outer}}
{{- end}}
`))

func render(path string, t *template.Template, side string, s Setup) error {
	var text bytes.Buffer
	if err := t.Execute(&text, struct {
		Setup
		Side string
	}{s, side}); err != nil {
		return fmt.Errorf("render %s: %w", path, err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
