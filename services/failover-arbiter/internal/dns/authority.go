package dns

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/ofitec/ofitec/events"
)

// Authority is the server that answers for the name, asked by plain DNS over TCP: what clients are told, whatever a provider's API says. It holds no connection
// and is safe for concurrent use. Its answers are not signed.
type Authority struct{ server string }

// NewAuthority names a server by host:port. It does not connect.
func NewAuthority(server string) *Authority { return &Authority{server} }

// Lookup asks for the name and its epoch.
func (a *Authority) Lookup(ctx context.Context, name string) (Record, error) {
	h, err := a.read(ctx, name, asker.read)
	if err != nil {
		return Record{}, fmt.Errorf("look up %s: %w", name, err)
	}
	return h.record(name)
}

// LookupAddress asks for the name alone, of a provider that keeps no epoch beside it.
func (a *Authority) LookupAddress(ctx context.Context, name string) (Record, error) {
	h, err := a.read(ctx, name, asker.readAddresses)
	if err != nil {
		return Record{}, fmt.Errorf("look up %s: %w", name, err)
	}
	r, err := h.record(name)
	r.AddressOnly = true
	return r, err
}

func (a *Authority) read(ctx context.Context, name string, what func(asker, string) (held, error)) (held, error) {
	connection, err := dial(ctx, a.server)
	if err != nil {
		return held{}, err
	}
	defer connection.Close()
	plain := &dns.Conn{Conn: connection}
	return what(asker{a.server, func(question *dns.Msg) (*dns.Msg, error) {
		if err := plain.WriteMsg(question); err != nil {
			return nil, fmt.Errorf("ask %s: %w", a.server, err)
		}
		reply, err := plain.ReadMsg()
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", a.server, err)
		}
		if reply.Id != question.Id {
			return nil, fmt.Errorf("ask %s: %w", a.server, dns.ErrId)
		}
		return reply, nil
	}}, name)
}

// callTimeout bounds a call whose context does not.
const callTimeout = 5 * time.Second

// dial connects for the life of one call; its deadline is the connection's.
func dial(ctx context.Context, server string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	if err := connection.SetDeadline(deadline); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}

// held is what the server holds for the name. A change that was made by hand can leave more than one of each.
type held struct {
	addresses []*dns.A
	epochs    []dns.RR
	epoch     events.Epoch // the highest
}

// is says whether the record stands there and nothing beside it.
func (h held) is(r Record, address net.IP) bool {
	return len(h.addresses) == 1 && len(h.epochs) == 1 && h.epoch == r.Epoch &&
		h.addresses[0].A.Equal(address) && h.addresses[0].Hdr.Ttl == uint32(r.TTL/time.Second)
}

// record is the name. More than one address is an error: clients take either.
func (h held) record(name string) (Record, error) {
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

// asker puts questions to one server.
type asker struct {
	server   string
	exchange func(*dns.Msg) (*dns.Msg, error)
}

func (a asker) read(name string) (held, error) {
	texts, err := a.ask(epochName(name), dns.TypeTXT)
	if err != nil {
		return held{}, err
	}
	h, err := a.readAddresses(name)
	if err != nil {
		return held{}, err
	}
	h.epochs = texts
	for _, rr := range texts {
		epoch, err := ParseEpoch(name, strings.Join(rr.(*dns.TXT).Txt, ""))
		if err != nil {
			return held{}, err
		}
		h.epoch = max(h.epoch, epoch)
	}
	return h, nil
}

func (a asker) readAddresses(name string) (held, error) {
	var h held
	addresses, err := a.ask(dns.Fqdn(name), dns.TypeA)
	if err != nil {
		return held{}, err
	}
	for _, rr := range addresses {
		h.addresses = append(h.addresses, rr.(*dns.A))
	}
	return h, nil
}

// ask gives the records of one name and type, none when there are none. Only an authoritative answer counts.
func (a asker) ask(name string, kind uint16) ([]dns.RR, error) {
	question := new(dns.Msg).SetQuestion(name, kind)
	question.RecursionDesired = false
	reply, err := a.exchange(question)
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("ask for %s %s: the server answers %s", name, dns.TypeToString[kind], dns.RcodeToString[reply.Rcode])
	}
	if !reply.Authoritative {
		return nil, fmt.Errorf("ask for %s %s: %s is not authoritative", name, dns.TypeToString[kind], a.server)
	}
	var found []dns.RR
	for _, rr := range reply.Answer {
		if h := rr.Header(); h.Rrtype == kind && strings.EqualFold(h.Name, name) {
			found = append(found, rr)
		}
	}
	return found, nil
}

func epochName(name string) string { return EpochName(dns.Fqdn(name)) }

// EpochName is where the epoch of a name stands, as TXT.
func EpochName(name string) string { return "_epoch." + name }

// ParseEpoch reads what stands there.
func ParseEpoch(name, text string) (events.Epoch, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is %q, want a number", EpochName(name), text)
	}
	return events.Epoch(number), nil
}
