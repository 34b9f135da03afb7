package dns

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ofitec/ofitec/events"
)

// authority answers every question as change leaves the answer.
func authority(t *testing.T, change func(m *dnsmessage.Message)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 || m.RecursionDesired {
				continue
			}
			m.Response, m.Authoritative = true, true
			m.Answers = append(m.Answers, address(m.Questions[0].Name, 127, 0, 0, 12))
			change(&m)
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func address(name dnsmessage.Name, octets ...byte) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte(octets)},
	}
}

func TestTheAuthoritativeAnswerIsTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *dnsmessage.Message)
		want   events.Outcome
		says   string
	}{
		{"the region's address", func(*dnsmessage.Message) {}, events.OutcomeOK, ""},
		{"a cache's answer", func(m *dnsmessage.Message) { m.Authoritative = false }, events.OutcomeFailed, "authority"},
		{"no such name", func(m *dnsmessage.Message) { m.RCode, m.Answers = dnsmessage.RCodeNameError, nil }, events.OutcomeFailed, "NameError"},
		{"two addresses", func(m *dnsmessage.Message) {
			m.Answers = append(m.Answers, address(m.Questions[0].Name, 127, 0, 0, 11))
		}, events.OutcomeFailed, "2 addresses"},
		{"a stranger's address", func(m *dnsmessage.Message) { m.Answers[0] = address(m.Questions[0].Name, 10, 0, 0, 1) }, events.OutcomeFailed, "no region's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := New(authority(t, c.change), "erp.ofitec.test", "127.0.0.11", "127.0.0.12").Look(t.Context())
			if got.Outcome != c.want || !strings.Contains(got.Reason, c.says) {
				t.Errorf("got %+v, want %s", got, c.want)
			}
			if c.want == events.OutcomeOK && got.Address != "127.0.0.12" {
				t.Errorf("the address is %q", got.Address)
			}
		})
	}
}

func TestASilentServerSaysNothing(t *testing.T) {
	mute := authority(t, func(m *dnsmessage.Message) { m.ID++ }) // a stranger's answer
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := New(mute, "erp.ofitec.test").Look(ctx); got.Outcome != events.OutcomeUnknown || !strings.Contains(got.Reason, "no answer in time") {
		t.Errorf("got %+v", got)
	}
}
