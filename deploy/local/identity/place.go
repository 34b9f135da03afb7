package identity

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// outside stands for a region in the names of what belongs to none.
const outside layout.Region = "outside"

// place is one identity folder.
type place struct {
	component string
	region    layout.Region
	dir       string
	owner     Owner
	name      string   // common name and, with a dot in it, DNS name
	addresses []string // where it is reached, beside loopback
	service   bool     // speaks to NATS
}

// places lists all identity folders of a layout.
func places(l layout.Layout, owners Owners) []place {
	var all []place
	inRegion := func(component string, r layout.Region, service bool) {
		all = append(all, place{
			component: component, region: r, dir: l.IdentityDir(r, component), owner: owners.of(component),
			name: component + "." + string(r), addresses: []string{l.Addressing.Region[r]}, service: service,
		})
	}
	for _, service := range layout.Services {
		for _, r := range service.Regions {
			inRegion(service.Name, r, true)
		}
	}
	for _, r := range layout.Regions {
		inRegion("nats", r, false)
		inRegion("etcd", r, false)
		inRegion("vault", r, false)
	}
	for _, r := range layout.DataRegions {
		for _, component := range []string{"postgres", "prometheus", "postgres-exporter", "odoo"} {
			inRegion(component, r, false)
		}
	}
	for _, component := range []string{"console", "minio", "bind"} {
		all = append(all, place{
			component: component, region: outside, dir: l.OutsideIdentityDir(component), owner: owners.of(component),
			name: component + "." + string(outside), addresses: []string{l.Addressing.Outside, l.Addressing.Console, "10.77.0.1"}, service: component == "console",
		})
	}
	return append(all, place{component: "operator", dir: l.OperatorIdentityDir(), owner: Owner{-1, -1}, name: "root"})
}

// leaves are the certificates of a place.
func (p place) leaves() []leaf {
	l := leaf{
		certFile: filepath.Join(p.dir, "tls.crt"), keyFile: filepath.Join(p.dir, "tls.key"), owner: p.owner,
		name: p.name, hosts: []string{"localhost"}, addresses: []string{"127.0.0.1"},
	}
	for _, address := range p.addresses {
		if address != "" && !slices.Contains(l.addresses, address) {
			l.addresses = append(l.addresses, address)
		}
	}
	if strings.Contains(p.name, ".") {
		l.hosts = append(l.hosts, p.name)
	}
	if p.component == "minio" {
		l.hosts = append(l.hosts, l.addresses...) // pgBackRest compares names only
	}
	if p.component != "etcd" {
		return []leaf{l}
	}
	peer := l
	peer.certFile, peer.keyFile = filepath.Join(p.dir, "peer.crt"), filepath.Join(p.dir, "peer.key")
	l.name, l.hosts = "", []string{"localhost"}
	return []leaf{l, peer}
}

// trust makes a place's certificates and its copy of the CA's.
func (a *authority) trust(p place) error {
	if err := makeDir(p.dir, p.owner); err != nil {
		return err
	}
	if err := a.copyTo(filepath.Join(p.dir, "ca.crt"), p.owner); err != nil {
		return err
	}
	for _, l := range p.leaves() {
		if err := a.ensure(l); err != nil {
			return err
		}
	}
	if p.component == "minio" {
		return a.trustMinIO(p)
	}
	return nil
}

// trustMinIO makes the certificates a second time, in the names that MinIO wants.
func (a *authority) trustMinIO(p place) error {
	certs := filepath.Join(p.dir, "certs")
	authorities := filepath.Join(certs, "CAs")
	for _, dir := range []string{certs, authorities} {
		if err := makeDir(dir, p.owner); err != nil {
			return err
		}
	}
	if err := a.copyTo(filepath.Join(authorities, "ca.crt"), p.owner); err != nil {
		return err
	}
	l := p.leaves()[0]
	l.certFile, l.keyFile = filepath.Join(certs, "public.crt"), filepath.Join(certs, "private.key")
	return a.ensure(l)
}

// copyTo writes the CA's certificate, which is public and follows the CA.
func (a *authority) copyTo(path string, owner Owner) error {
	content, found, err := read(path)
	if err != nil {
		return err
	}
	if found && string(content) == string(a.pem) {
		return own(path, 0o644, owner)
	}
	return write(path, a.pem, 0o644, owner)
}
