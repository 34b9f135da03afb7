package dns

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// RFC2136 is a server that takes signed updates. It holds no connection and is safe for concurrent use. Questions and updates go over TCP and are signed, and
// so must the answers be.
type RFC2136 struct {
	server, zone string
	key          Key
}

var _ Provider = (*RFC2136)(nil)

// NewRFC2136 names a server by host:port, a zone and a key. It does not connect.
func NewRFC2136(server, zone string, key Key) *RFC2136 {
	return &RFC2136{server: server, zone: dns.Fqdn(zone), key: key}
}

// Set implements Provider. The update is one message: the epoch must be the one that was read, and both records are replaced, or none is.
func (p *RFC2136) Set(ctx context.Context, r Record) error {
	address := net.ParseIP(r.Address).To4()
	if address == nil {
		return fmt.Errorf("set %s: address %q is not IPv4", r.Name, r.Address)
	}
	connection, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	defer connection.Close()
	h, err := p.read(connection, r.Name)
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	if r.Epoch < h.epoch {
		return fmt.Errorf("set %s: %w", r.Name, &SmallerError{Asked: r.Epoch, Seen: h.epoch})
	}
	if h.is(r, address) {
		return nil
	}
	name, beside := dns.Fqdn(r.Name), epochName(r.Name)
	header := func(name string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: uint32(r.TTL / time.Second)}
	}
	a := &dns.A{Hdr: header(name, dns.TypeA), A: address}
	txt := &dns.TXT{Hdr: header(beside, dns.TypeTXT), Txt: []string{strconv.FormatUint(uint64(r.Epoch), 10)}}
	update := new(dns.Msg).SetUpdate(p.zone)
	if len(h.epochs) > 0 {
		update.Used(h.epochs)
	} else {
		update.RRsetNotUsed([]dns.RR{txt})
	}
	update.RemoveRRset([]dns.RR{txt, a})
	update.Insert([]dns.RR{txt, a})
	reply, err := p.exchange(connection, update)
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	switch reply.Rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeNameError, dns.RcodeYXDomain:
		return fmt.Errorf("set %s: %w", r.Name, ErrChanged)
	}
	return fmt.Errorf("set %s: the server answers %s", r.Name, dns.RcodeToString[reply.Rcode])
}

// Lookup implements Provider.
func (p *RFC2136) Lookup(ctx context.Context, name string) (Record, error) {
	connection, err := p.dial(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("look up %s: %w", name, err)
	}
	defer connection.Close()
	h, err := p.read(connection, name)
	if err != nil {
		return Record{}, fmt.Errorf("look up %s: %w", name, err)
	}
	return h.record(name)
}

func (p *RFC2136) read(connection net.Conn, name string) (held, error) {
	return asker{p.server, func(question *dns.Msg) (*dns.Msg, error) { return p.exchange(connection, question) }}.read(name)
}

// dial connects for the life of one call; its deadline is the connection's.
func (p *RFC2136) dial(ctx context.Context) (net.Conn, error) { return dial(ctx, p.server) }

// exchange signs a message, and takes a signed answer only. A dns.Conn remembers the last signature, so each exchange has one of its own.
func (p *RFC2136) exchange(connection net.Conn, message *dns.Msg) (*dns.Msg, error) {
	message.SetTsig(dns.CanonicalName(p.key.name), dns.Fqdn(p.key.algorithm), 300, time.Now().Unix())
	signed := &dns.Conn{Conn: connection, TsigSecret: map[string]string{dns.CanonicalName(p.key.name): p.key.secret}}
	if err := signed.WriteMsg(message); err != nil {
		return nil, fmt.Errorf("ask %s: %w", p.server, err)
	}
	reply, err := signed.ReadMsg()
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", p.server, err)
	}
	if reply.Id != message.Id {
		return nil, fmt.Errorf("ask %s: %w", p.server, dns.ErrId)
	}
	if reply.IsTsig() == nil {
		return nil, fmt.Errorf("ask %s: the answer %s is not signed", p.server, dns.RcodeToString[reply.Rcode])
	}
	return reply, nil
}
