package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/ofitec/ofitec/events"
)

// ErrChanged says that somebody else has changed the name between the look and the update.
var ErrChanged = errors.New("the name was changed by somebody else meanwhile")

// RFC2136 is a server that takes signed updates. It holds no connection and is safe for concurrent use. Questions and updates go over TCP and are signed, and
// so must the answers be.
type RFC2136 struct {
	server, zone string
	key          Key
}

var _ Provider = (*RFC2136)(nil)

// callTimeout bounds a call whose context does not.
const callTimeout = 5 * time.Second

// NewRFC2136 names a server by host:port, a zone and a key. It does not connect.
func NewRFC2136(server, zone string, key Key) *RFC2136 {
	return &RFC2136{server: server, zone: dns.Fqdn(zone), key: key}
}

// held is what the server holds for the name. A change that was made by hand can leave more than one of each.
type held struct {
	addresses []*dns.A
	epochs    []dns.RR
	epoch     events.Epoch // the highest
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

// is says whether the record stands there and nothing beside it.
func (h held) is(r Record, address net.IP) bool {
	return len(h.addresses) == 1 && len(h.epochs) == 1 && h.epoch == r.Epoch &&
		h.addresses[0].A.Equal(address) && h.addresses[0].Hdr.Ttl == uint32(r.TTL/time.Second)
}

// Lookup implements Provider. A name with more than one address is an error: clients take either.
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
	r := Record{Name: name, Epoch: h.epoch}
	switch len(h.addresses) {
	case 0:
	case 1:
		r.Address, r.TTL = h.addresses[0].A.String(), time.Duration(h.addresses[0].Hdr.Ttl)*time.Second
	default:
		return Record{}, fmt.Errorf("look up %s: it has %d addresses", name, len(h.addresses))
	}
	return r, nil
}

func (p *RFC2136) read(connection net.Conn, name string) (held, error) {
	var h held
	texts, err := p.ask(connection, epochName(name), dns.TypeTXT)
	if err != nil {
		return held{}, err
	}
	for _, rr := range texts {
		text := strings.Join(rr.(*dns.TXT).Txt, "")
		number, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return held{}, fmt.Errorf("%s is %q, want a number", epochName(name), text)
		}
		h.epoch = max(h.epoch, events.Epoch(number))
	}
	h.epochs = texts
	addresses, err := p.ask(connection, dns.Fqdn(name), dns.TypeA)
	if err != nil {
		return held{}, err
	}
	for _, rr := range addresses {
		h.addresses = append(h.addresses, rr.(*dns.A))
	}
	return h, nil
}

// ask gives the records of one name and type, none when there are none. Only an authoritative answer counts.
func (p *RFC2136) ask(connection net.Conn, name string, kind uint16) ([]dns.RR, error) {
	question := new(dns.Msg).SetQuestion(name, kind)
	question.RecursionDesired = false
	reply, err := p.exchange(connection, question)
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("ask for %s %s: the server answers %s", name, dns.TypeToString[kind], dns.RcodeToString[reply.Rcode])
	}
	if !reply.Authoritative {
		return nil, fmt.Errorf("ask for %s %s: %s is not authoritative", name, dns.TypeToString[kind], p.server)
	}
	var found []dns.RR
	for _, rr := range reply.Answer {
		if h := rr.Header(); h.Rrtype == kind && strings.EqualFold(h.Name, name) {
			found = append(found, rr)
		}
	}
	return found, nil
}

// dial connects for the life of one call; its deadline is the connection's.
func (p *RFC2136) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return nil, err
	}
	if err := connection.SetDeadline(deadline); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}

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

func epochName(name string) string { return "_epoch." + dns.Fqdn(name) }
