package local

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// endpoint is an address that a component will listen on.
type endpoint struct {
	component string
	addr      string
}

// endpoints lists every listener of the stack.
func endpoints(a layout.Addressing) []endpoint {
	var all []endpoint
	add := func(component, host string, port int) {
		all = append(all, endpoint{component, net.JoinHostPort(host, strconv.Itoa(port))})
	}
	for _, r := range layout.Regions {
		host := a.Region[r]
		add("nats", host, layout.PortNATS)
		add("nats", host, layout.PortNATSRoute)
		add("nats", host, layout.PortNATSMonitor)
		add("etcd", host, layout.PortEtcd)
		add("etcd", host, layout.PortEtcdPeer)
		add("etcd", host, layout.PortEtcdMetrics)
		for _, service := range layout.Services {
			for _, in := range service.Regions {
				if in == r {
					add(service.Name, host, service.Port)
				}
			}
		}
		add("vault", host, layout.PortVault)
		add("vault", host, layout.PortVaultCluster)
		if !r.HoldsData() {
			continue
		}
		add("haproxy-db", host, layout.PortDatabaseProxy)
		add("postgres", host, layout.PortPostgres)
		add("haproxy-db", host, layout.PortReadProxy)
		add("haproxy-web", host, layout.PortWebProxy)
		add("odoo-blue", host, layout.PortOdooBlue)
		add("odoo-green", host, layout.PortOdooGreen)
		add("prometheus", host, layout.PortPrometheus)
		add("postgres-exporter", host, layout.PortPostgresExporter)
	}
	add("bind", a.Outside, layout.PortDNS)
	add("minio", a.Outside, layout.PortObjects)
	add("console", a.Console, layout.PortConsole)
	return all
}

// checkPorts fails, in one line, when somebody listens where the stack will: it names the first address, who is there, and how many more are taken.
// Regions in namespaces have no strangers.
func checkPorts(a layout.Addressing) error {
	var first error
	more := 0
	for _, e := range endpoints(a) {
		host, _, _ := net.SplitHostPort(e.addr)
		if a.Namespaces && !net.ParseIP(host).IsLoopback() {
			continue
		}
		listener, err := net.Listen("tcp", e.addr) //nolint:noctx // the answer is there at once
		switch {
		case err == nil:
			_ = listener.Close()
		case first != nil:
			more++
		case errors.Is(err, syscall.EADDRINUSE):
			first = fmt.Errorf("address %s, wanted by %s, is in use%s", e.addr, e.component, holder(e.addr))
		default:
			first = fmt.Errorf("address %s, wanted by %s, cannot be listened on: %w", e.addr, e.component, err)
		}
	}
	switch {
	case first == nil:
		return nil
	case more > 0:
		return fmt.Errorf("%w, and %d more of the stack's addresses cannot be had either; stop what is there, then start again", first, more)
	}
	return fmt.Errorf("%w; stop what is there, then start again", first)
}

// holder names the process that listens on an address, or on its port on all addresses; "" when that cannot be seen.
func holder(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	number, _ := strconv.Atoi(port)
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, _ := os.ReadFile(table)
		for _, line := range strings.Split(string(content), "\n") {
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) > 9 && fields[3] == listening && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) && matches(fields[1], host) {
				inodes["socket:["+fields[9]+"]"] = true
			}
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && inodes[target] {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf(" by process %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// matches compares a hexadecimal local address of /proc/net/tcp with an IPv4 host; all-zero addresses match every host.
func matches(local, host string) bool {
	address, _, _ := strings.Cut(local, ":")
	if strings.Trim(address, "0") == "" {
		return true
	}
	ip := net.ParseIP(host).To4()
	return ip != nil && strings.EqualFold(address, fmt.Sprintf("%02X%02X%02X%02X", ip[3], ip[2], ip[1], ip[0]))
}
