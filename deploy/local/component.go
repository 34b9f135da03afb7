package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// file is a configuration file of a component, rendered anew before each start.
type file struct {
	path   string
	render func() ([]byte, error)
}

// component makes the specification that all components share: its folder, its user, its log, its environment, its region's namespace.
// Files are written before each start and belong to the component's user alone.
func (s *Stack) component(r layout.Region, name, program, addr string, files ...file) supervise.Spec {
	owner := s.owners.of(name)
	spec := supervise.Spec{
		Name: name, Region: string(r), Path: program, Addr: addr, User: owner,
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TZ=UTC", "HOME=" + s.componentDir(r, name)},
		Dir: s.componentDir(r, name), LogFile: s.layout.LogFile(r, name),
	}
	if r == "" {
		spec.LogFile = s.layout.OutsideLogFile(name)
	}
	if s.options.Namespaces && r != "" {
		spec.Namespace = netns.Path(r)
	}
	spec.Before = func(context.Context) error {
		if err := makeDir(spec.Dir, 0o700, owner); err != nil {
			return err
		}
		for _, f := range files {
			content, err := f.render()
			if err != nil {
				return fmt.Errorf("configure %s: %w", spec.ID(), err)
			}
			if err := writeFile(f.path, content, 0o600, owner); err != nil {
				return err
			}
		}
		return nil
	}
	return spec
}

func (s *Stack) componentDir(r layout.Region, name string) string {
	if r == "" {
		return s.layout.OutsideDir(name)
	}
	return s.layout.ComponentDir(r, name)
}

// before adds a step ahead of the component's own preparation.
func before(spec supervise.Spec, step func(ctx context.Context) error) supervise.Spec {
	inner := spec.Before
	spec.Before = func(ctx context.Context) error {
		if err := inner(ctx); err != nil {
			return err
		}
		return step(ctx)
	}
	return spec
}

// identityDir is where a component's keys are; a region's or one outside.
func (s *Stack) identityDir(r layout.Region, name string) string {
	if r == "" {
		return s.layout.OutsideIdentityDir(name)
	}
	return s.layout.IdentityDir(r, name)
}

// serverTLS are the files that a server shows.
func (s *Stack) serverTLS(r layout.Region, name string) deploy.TLSFiles {
	dir := s.identityDir(r, name)
	return deploy.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
}

// serviceEnv is what chassis.Settings reads.
func (s *Stack) serviceEnv(r layout.Region, name, httpAddr string) []string {
	dir := s.identityDir(r, name)
	region := string(r)
	first := r
	if r == "" {
		region, first = "outside", layout.A
	}
	return []string{
		"OFITEC_REGION=" + region,
		"OFITEC_HTTP_ADDR=" + httpAddr,
		"OFITEC_DATA_DIR=" + s.componentDir(r, name),
		"OFITEC_TLS_CERT_FILE=" + filepath.Join(dir, "tls.crt"),
		"OFITEC_TLS_KEY_FILE=" + filepath.Join(dir, "tls.key"),
		"OFITEC_TLS_CA_FILE=" + filepath.Join(dir, "ca.crt"),
		"NATS_URL=" + s.everywhere(first, "tls://", layout.PortNATS),
		"OFITEC_NATS_CREDENTIALS_FILE=" + filepath.Join(dir, "nats.creds"),
		"ETCD_ENDPOINTS=" + s.everywhere(first, "https://", layout.PortEtcd),
		"VAULT_ADDR=" + s.everywhere(first, "https://", layout.PortVault),
		"OFITEC_VAULT_ROLE_ID_FILE=" + filepath.Join(dir, "vault-role-id"),
		"OFITEC_VAULT_SECRET_ID_FILE=" + filepath.Join(dir, "vault-secret-id"),
	}
}

// everywhere is a comma list of a port's address in all regions, own region first.
func (s *Stack) everywhere(first layout.Region, scheme string, port int) string {
	list := scheme + s.layout.Addressing.Addr(first, port)
	for _, r := range layout.Regions {
		if r != first {
			list += "," + scheme + s.layout.Addressing.Addr(r, port)
		}
	}
	return list
}

// secret reads a secret of an identity folder.
func secret(dir, name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(content), nil
}
