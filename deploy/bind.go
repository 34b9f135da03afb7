package deploy

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// BIND is the authoritative DNS server. Dir is its working folder, which it writes to (zone, journal, pid).
type BIND struct {
	Dir         string
	Listen      []string // IP addresses; the first one has the control port too
	Port        int      // 5300
	ControlPort int      // 5953; `rndc -s Listen[0] -p ControlPort -k KeyFile -y ControlKey`
	KeyFile     string   // the file of RenderBINDKeys, mode 0600
	UpdateKey   string   // name of the TSIG key that may change Name and its epoch
	ControlKey  string   // name of the key that may command the server

	Zone string // "ofitec.test"
	Name string // "erp.ofitec.test": the name that a failover flips
	TTL  int    // seconds; 30 to 60 in production, less on one machine
	// Address and Epoch are the first records of Name; none while Address is empty.
	Address string
	Epoch   uint64
}

// BINDKey is a TSIG key. Secret is base64 of at least 32 random bytes.
type BINDKey struct{ Name, Secret string }

// RenderConf returns named.conf.
func (b BIND) RenderConf() ([]byte, error) { return b.render("bind/named.conf.tmpl") }

// RenderZone returns the zone's first content. Once the server has run the file is the server's: never write it again.
func (b BIND) RenderZone() ([]byte, error) { return b.render("bind/zone.tmpl") }

// RenderBINDKeys returns the file that named.conf includes and that `nsupdate -k` and `rndc -k` read. Secret: mode 0600.
// A client's file holds that client's key only.
func RenderBINDKeys(keys ...BINDKey) ([]byte, error) {
	p := problems{of: "bind keys"}
	for i, key := range keys {
		p.name(fmt.Sprintf("[%d].Name", i), key.Name)
		if raw, err := base64.StdEncoding.DecodeString(key.Secret); err != nil || len(raw) < 32 {
			p.add(fmt.Sprintf("[%d].Secret", i), "is not base64 of 32 bytes or more")
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return render("bind/keys.conf.tmpl", keys)
}

func (b BIND) render(name string) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return render(name, b)
}

func (b BIND) check() error {
	p := problems{of: "bind"}
	p.path("Dir", b.Dir)
	p.path("KeyFile", b.KeyFile)
	p.name("UpdateKey", b.UpdateKey)
	p.name("ControlKey", b.ControlKey)
	if b.UpdateKey == b.ControlKey {
		p.add("ControlKey", "is the update key: whoever flips a name must not command the server")
	}
	p.name("Zone", b.Zone)
	p.name("Name", b.Name)
	if !strings.HasSuffix(b.Name, "."+b.Zone) {
		p.add("Name", "%q is not in the zone %q", b.Name, b.Zone)
	}
	if len(b.Listen) == 0 {
		p.add("Listen", "is empty")
	}
	for i, address := range b.Listen {
		p.address(fmt.Sprintf("Listen[%d]", i), address)
	}
	p.port("Port", b.Port)
	p.port("ControlPort", b.ControlPort)
	p.duration("TTL", time.Duration(b.TTL)*time.Second, time.Second, time.Minute)
	if b.Address != "" {
		p.address("Address", b.Address)
	}
	return p.err()
}
