// Package deploy is the configuration that the servers run with: one folder of templates a server, and here one type a
// server whose fields are everything that differs between a laptop and production.
//
// Each type has a Render method (or one method a file) that returns the file's bytes and does no I/O. Fields are checked
// first: the error lists every wrong field by name, and nothing is rendered from a configuration that is wrong in part.
// Addresses are "host:port", files are absolute paths, and no field may carry a quote or a line break into a file.
//
// The values are safe for concurrent use as long as nobody changes them. Some rendered files hold secrets; the method's
// comment says so, and the caller writes those with mode 0600.
package deploy

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"text/template"
	"time"
)

//go:embed nats/*.tmpl etcd/*.tmpl postgres pgbackrest/*.tmpl haproxy/*.tmpl prometheus/*.tmpl prometheus/*.yaml prometheus/rules bind/*.tmpl minio/*.tmpl vault/*.tmpl vault/*.yml vault/policies vault/roles vault/passwords
var files embed.FS

// TLSFiles are the PEM files of one server.
type TLSFiles struct {
	Cert, Key string // what the server shows
	CA        string // whom it believes
}

var functions = template.FuncMap{
	"host":    func(hostPort string) (string, error) { host, _, err := net.SplitHostPort(hostPort); return host, err },
	"port":    func(hostPort string) (string, error) { _, port, err := net.SplitHostPort(hostPort); return port, err },
	"millis":  func(d time.Duration) int64 { return d.Milliseconds() },
	"seconds": func(d time.Duration) int64 { return int64(d.Seconds()) },
	"prom":    promDuration,
	"mib":     func(bytes int64) int64 { return bytes >> 20 },
}

// render fills one embedded template. A field that the template names and the data lacks is an error, never an empty string.
func render(name string, data any) ([]byte, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", name, err)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parse template %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("render template %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// promDuration writes a duration as Prometheus reads it, in milliseconds or in whole seconds.
func promDuration(d time.Duration) string {
	if d%time.Second != 0 {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%ds", int64(d.Seconds()))
}
