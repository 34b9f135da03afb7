package deploy

import (
	"time"
)

// HAProxyProcess is what both proxies share: how the process runs and who may command it.
type HAProxyProcess struct {
	Socket string // runtime socket, mode 600
	// SocketUser and SocketGroup own the socket when HAProxy starts as root; empty: whoever starts it.
	SocketUser, SocketGroup string
	// User and Group are what HAProxy becomes after it has bound its ports; empty: it stays who it is.
	User, Group string
	Metrics     string // plain HTTP, /metrics in Prometheus' format
	MaxConn     int    // 512 when zero
	Threads     int    // 1 when zero
}

// HAProxyCheck is the dead man's timing (protocol.md, Timing). A silent arbiter is found within
// Fall x (Inter + Connect + Timeout): D.
type HAProxyCheck struct {
	Inter, Connect, Timeout time.Duration
	Fall                    int
}

// LocalCheck and WANCheck are protocol.md's two columns: D is 1 s and 2 s.
var (
	LocalCheck = HAProxyCheck{Inter: 200 * time.Millisecond, Connect: 100 * time.Millisecond, Timeout: 200 * time.Millisecond, Fall: 2}
	WANCheck   = HAProxyCheck{Inter: 500 * time.Millisecond, Connect: 200 * time.Millisecond, Timeout: 300 * time.Millisecond, Fall: 2}
)

// Detection is D of protocol.md: the longest time from the arbiter's last word to the cut.
func (c HAProxyCheck) Detection() time.Duration {
	return time.Duration(c.Fall) * (c.Inter + c.Connect + c.Timeout)
}

// HAProxyDB is the database proxy of a data region. Its servers, "db/local" (5432, while /mandate answers 200) and
// "read/local" (5434, while /standby does), start disabled: "set server db/local state ready" on the socket opens,
// "set server db/local state maint" followed by "shutdown sessions server db/local" closes.
type HAProxyDB struct {
	HAProxyProcess
	Bind     string       // region:5432
	ReadBind string       // region:5434
	Server   string       // region:5433
	Source   string       // the proxy's own address, the only one from which pg_hba lets applications in
	Arbiter  string       // region:8702
	Check    HAProxyCheck // LocalCheck when zero
}

// Render returns haproxy-db.cfg.
func (h HAProxyDB) Render() ([]byte, error) {
	h.HAProxyProcess = h.withDefaults()
	h.Check = h.Check.withDefaults()
	p := problems{of: "haproxy-db"}
	h.check(&p)
	h.Check.check(&p, "Check")
	p.hostPort("Bind", h.Bind)
	p.hostPort("ReadBind", h.ReadBind)
	p.hostPort("Server", h.Server)
	p.address("Source", h.Source)
	p.hostPort("Arbiter", h.Arbiter)
	if err := p.err(); err != nil {
		return nil, err
	}
	return render("haproxy/haproxy-db.cfg.tmpl", h)
}

// HAProxyWeb is the web proxy of a data region. The deployer switches with "set weight odoo/blue 0" and
// "set weight odoo/green 100"; a restarted proxy is back at Active, so the file is rendered anew at each switch.
// Answers of this region's Odoo carry X-Ofitec-Region.
type HAProxyWeb struct {
	HAProxyProcess
	Region        string
	Bind          string // region:8080
	Blue, Green   string // Odoo's two colours
	Active        string // the colour with the weight, blue or green; blue when empty
	Arbiter       string // this region's arbiter
	Peer          string // the other data region's web proxy
	PeerArbiter   string
	Check         HAProxyCheck  // of both arbiters; LocalCheck when zero
	OdooCheck     HAProxyCheck  // of the colours; every 500 ms with 1 s to answer, twice, when zero
	ServerTimeout time.Duration // longest request; 120 s when zero
}

// Render returns haproxy-web.cfg.
func (h HAProxyWeb) Render() ([]byte, error) {
	h.HAProxyProcess = h.withDefaults()
	h.Check = h.Check.withDefaults()
	if h.OdooCheck == (HAProxyCheck{}) {
		h.OdooCheck = HAProxyCheck{Inter: 500 * time.Millisecond, Connect: time.Second, Timeout: time.Second, Fall: 2}
	}
	if h.Active == "" {
		h.Active = "blue"
	}
	if h.ServerTimeout == 0 {
		h.ServerTimeout = 120 * time.Second
	}
	p := problems{of: "haproxy-web"}
	h.check(&p)
	h.Check.check(&p, "Check")
	h.OdooCheck.check(&p, "OdooCheck")
	p.name("Region", h.Region)
	p.hostPort("Bind", h.Bind)
	p.hostPort("Blue", h.Blue)
	p.hostPort("Green", h.Green)
	p.oneOf("Active", h.Active, "blue", "green")
	p.hostPort("Arbiter", h.Arbiter)
	p.hostPort("Peer", h.Peer)
	p.hostPort("PeerArbiter", h.PeerArbiter)
	p.duration("ServerTimeout", h.ServerTimeout, time.Second, time.Hour)
	if err := p.err(); err != nil {
		return nil, err
	}
	return render("haproxy/haproxy-web.cfg.tmpl", h)
}

func (c HAProxyCheck) withDefaults() HAProxyCheck {
	if c == (HAProxyCheck{}) {
		return LocalCheck
	}
	return c
}

func (c HAProxyCheck) check(p *problems, field string) {
	p.duration(field+".Inter", c.Inter, 10*time.Millisecond, time.Minute)
	p.duration(field+".Connect", c.Connect, 10*time.Millisecond, 10*time.Second)
	p.duration(field+".Timeout", c.Timeout, 10*time.Millisecond, 10*time.Second)
	if c.Fall < 1 || c.Fall > 10 {
		p.add(field+".Fall", "%d is not between 1 and 10", c.Fall)
	}
}

func (h HAProxyProcess) withDefaults() HAProxyProcess {
	if h.MaxConn == 0 {
		h.MaxConn = 512
	}
	if h.Threads == 0 {
		h.Threads = 1
	}
	return h
}

func (h HAProxyProcess) check(p *problems) {
	p.socket("Socket", h.Socket)
	for field, value := range map[string]string{"SocketUser": h.SocketUser, "SocketGroup": h.SocketGroup, "User": h.User, "Group": h.Group} {
		if value != "" {
			p.name(field, value)
		}
	}
	p.hostPort("Metrics", h.Metrics)
	if h.MaxConn < 10 {
		p.add("MaxConn", "%d is less than 10", h.MaxConn)
	}
	if h.Threads < 1 || h.Threads > 64 {
		p.add("Threads", "%d is not between 1 and 64", h.Threads)
	}
}
