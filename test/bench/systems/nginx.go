package systems

import (
	"os"
	"path/filepath"
	"text/template"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// nginxStream is where Debian's libnginx-mod-stream puts the module.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginx() *System {
	missing := installed("nginx")
	if _, err := os.Stat(nginxStream); missing == "" && err != nil {
		missing = "libnginx-mod-stream is not installed"
	}
	return &System{Name: "nginx",
		Long: "nginx: keep-alive connections between the two; grpc_pass and stream where the traffic asks", Entry: outer,
		Missing: missing,
		Commands: func(s Setup) ([]lab.Command, error) {
			var commands []lab.Command
			for _, side := range []string{"in", "out"} {
				path := filepath.Join(s.Dir, "nginx-"+side+".conf")
				if err := render(path, nginxConfig, side, s); err != nil {
					return nil, err
				}
				commands = append(commands, lab.Command{Name: "nginx-" + side, Path: "nginx", CPUs: s.CPUs,
					Args: []string{"-p", s.Dir, "-e", filepath.Join(s.Dir, "nginx-"+side+"-error.log"), "-c", path}})
			}
			return commands, nil
		}}
}

var nginxConfig = template.Must(template.New("nginx").Parse(`daemon off;
user root;
worker_processes {{.Threads}};
pid {{.Dir}}/nginx-{{.Side}}.pid;
load_module ` + nginxStream + `;
events { worker_connections 16384; }
{{- if eq .Kind "tcp"}}
stream {
  {{- if eq .Side "out"}}
  server {
    listen {{.Out}};
    proxy_pass {{.In}};
    proxy_ssl on;
    proxy_ssl_certificate {{.PKI.Client.Chain}};
    proxy_ssl_certificate_key {{.PKI.Client.Key}};
    proxy_ssl_trusted_certificate {{.PKI.Roots}};
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_name {{.PKI.Server.Name}};
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    proxy_ssl_session_reuse off;
  }
  {{- else}}
  server {
    listen {{.In}} ssl;
    ssl_certificate {{.PKI.Server.Chain}};
    ssl_certificate_key {{.PKI.Server.Key}};
    ssl_client_certificate {{.PKI.Roots}};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_tickets off;
    proxy_pass {{.App}};
  }
  {{- end}}
}
{{- else}}
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 10m;
  client_body_temp_path {{.Dir}}/nginx-body-{{.Side}};
  proxy_temp_path {{.Dir}}/nginx-proxy-{{.Side}};
  {{- $h2 := ""}}{{if eq .Kind "grpc"}}{{$h2 = " http2"}}{{end}}
  {{- if eq .Side "out"}}
  upstream next { server {{.In}}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 10m; }
  server {
    listen {{.Out}}{{$h2}};
    {{- if eq .Kind "grpc"}}
    http2_max_concurrent_streams 1000;
    {{- end}}
    location / {
      {{- $p := "proxy"}}{{if eq .Kind "grpc"}}{{$p = "grpc"}}{{end}}
      {{$p}}_ssl_certificate {{.PKI.Client.Chain}};
      {{$p}}_ssl_certificate_key {{.PKI.Client.Key}};
      {{$p}}_ssl_trusted_certificate {{.PKI.Roots}};
      {{$p}}_ssl_verify on;
      {{$p}}_ssl_verify_depth 2;
      {{$p}}_ssl_name {{.PKI.Server.Name}};
      {{$p}}_ssl_protocols TLSv1.3;
      {{$p}}_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
      {{- if eq .Kind "grpc"}}
      grpc_pass grpcs://next;
      {{- else}}
      proxy_pass https://next;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      {{- end}}
    }
  }
  {{- else}}
  upstream app { server {{.App}}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 10m; }
  server {
    listen {{.In}} ssl{{$h2}};
    {{- if eq .Kind "grpc"}}
    http2_max_concurrent_streams 1000;
    {{- end}}
    ssl_certificate {{.PKI.Server.Chain}};
    ssl_certificate_key {{.PKI.Server.Key}};
    ssl_client_certificate {{.PKI.Roots}};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_tickets off;
    location / {
      {{- if eq .Kind "grpc"}}
      grpc_pass grpc://app;
      {{- else}}
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      {{- end}}
    }
  }
  {{- end}}
}
{{- end}}
`))
