package rotation

import (
	"bytes"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest/transcript"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// TestTranscriptsStayAsTheyWereTold plays each story of testdata: a line that begins in the first column is what happens, the indented lines below are what is
// announced, what is to be done, and where the versions stand when that has changed. Every state must be one that can be stored, every event one that can be sent.
func TestTranscriptsStayAsTheyWereTold(t *testing.T) { transcript.Tell(t, play) }

var day = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func policy() Policy {
	return Policy{
		Name: "odoo-app", Kind: events.CredentialDatabase, Path: "ofitec/credentials/odoo-app", Regions: events.DataRegions, RenewAt: 0.67, RotateAt: 0.6,
		Grace: 10 * time.Second, Patience: 30 * time.Minute, Attempt: 20 * time.Minute, Again: 15 * time.Minute,
	}
}

type player struct {
	policy Policy
	state  state.Credential
	seen   Observation // what stays between two looks
	said   string
	out    *bytes.Buffer
}

func play(t *testing.T, happens iter.Seq[string], out *bytes.Buffer) {
	t.Helper()
	p := &player{out: out, policy: policy(), seen: Observation{Active: events.RegionA}}
	for line := range happens {
		out.WriteString(line + "\n")
		if kind, ok := strings.CutPrefix(line, "kind "); ok { // without a deployer
			p.policy.Kind, p.policy.Regions = events.CredentialKind(kind), nil
			continue
		}
		if order, ok := strings.CutPrefix(line, "order "); ok {
			for region := range strings.SplitSeq(order, ",") {
				p.policy.Order = append(p.policy.Order, events.Region(region))
			}
			continue
		}
		fields := strings.Fields(line)
		words := map[string]string{}
		for _, field := range fields[2:] {
			name, value, _ := strings.Cut(field, "=")
			words[name] = strings.ReplaceAll(value, "_", " ")
		}
		at, err := time.ParseDuration(fields[0])
		if err != nil {
			t.Fatalf("want a time and what happens: %q", line)
		}
		p.happen(t, day.Add(at), fields[1], words)
	}
}

func (p *player) happen(t *testing.T, now time.Time, verb string, words map[string]string) {
	t.Helper()
	number, _ := strconv.ParseInt(words["n"], 10, 64)
	o := p.seen
	switch verb {
	case "look":
	case "stored":
		p.seen.Stored, o.Stored = number, number
	case "active":
		p.seen.Active = events.Region(words["region"])
		o.Active = p.seen.Active
	case "away":
		p.seen.Away = nil
		if region := events.Region(words["region"]); region != "" {
			p.seen.Away = []events.Region{region}
		}
		o.Away = p.seen.Away
	case "unmade": // the next version cannot be made, or can again
		p.seen.Unmade = words["because"]
		o.Unmade = p.seen.Unmade
	case "applied":
		o.Outcome = Applied{number, words["problem"]}
	case "epoch":
		epoch, _ := strconv.ParseUint(words["n"], 10, 64)
		p.seen.Epoch = events.Epoch(epoch)
		o.Epoch = p.seen.Epoch
	case "verified":
		o.Outcome = Verified{number, p.seen.Epoch, words["problem"]}
	case "crash": // another process leads now
		p.seen.Held = 0
		if number > 0 {
			p.seen.Stored = number
		}
		o = p.seen
	case "wish":
		p.seen.Wish = &Wish{Act: events.Act{Actor: "maria", Reason: "by hand", Request: words["request"], At: now}, Correlation: "c", Causation: "m"}
		o.Wish = p.seen.Wish
	case "minted":
		ttl, most := time.Hour, 24*time.Hour
		switch p.policy.Kind {
		case events.CredentialSTS:
			most = ttl
		case events.CredentialKV, events.CredentialRoot:
			ttl = most
		}
		o.Outcome = Minted{Number: number, Lease: fmt.Sprint("lease-", number), User: fmt.Sprint("v-", number), Fingerprint: strings.Repeat("ab", 32), TTL: ttl, MaxTTL: most, At: now}
		p.seen.Held, o.Held = number, number
	case "tested":
		o.Outcome = Tested{number, words["problem"]}
	case "staged":
		p.seen.Stored, o.Stored = number, number
		o.Outcome = Staged{Number: number}
	case "taken": // another writer's version stands under that number
		p.seen.Stored, o.Stored = number, number
		o.Outcome = Staged{number, true}
	case "shortened":
		ttl, _ := time.ParseDuration(words["ttl"])
		o.Outcome = Shortened{number, ttl, now, words["ttl"] == "gone"}
	case "found":
		o.Outcome = Found{number, words["staged"] == "yes"}
	case "renewed":
		ttl, _ := time.ParseDuration(words["ttl"])
		o.Outcome = Renewed{number, ttl, now, words["ttl"] == "gone"}
	case "ended":
		sessions, _ := strconv.Atoi(words["sessions"])
		o.Outcome = Ended{Number: number, Sessions: sessions, Drained: true}
	case "deployed", "rolledback":
		o.Results = []Result{{Region: events.Region(words["region"]), Version: number, Deployed: verb == "deployed", Reason: words["reason"], Correlation: "c", Causation: "m"}}
	default:
		t.Fatalf("nothing like this happens: %s", verb)
	}
	before := p.state
	snapshot, err := state.Encode(documentOrNone(before))
	if err != nil {
		t.Fatal(err)
	}
	next, with, then := Decide(p.state, o, p.policy, now)
	if again, _ := state.Encode(documentOrNone(before)); !bytes.Equal(snapshot, again) {
		t.Fatalf("%s: the given state was changed", verb)
	}
	if _, err := state.Encode(next); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	p.state = next
	p.say(t, now, with, then)
}

func documentOrNone(s state.Credential) state.Credential {
	if s.Name == "" {
		s.Name, s.Method = "none", events.CredentialDatabase
	}
	return s
}

func (p *player) say(t *testing.T, now time.Time, with, then []Action) {
	t.Helper()
	for _, action := range with {
		switch a := action.(type) {
		case Fulfil:
			p.seen.Wish = nil
			p.out.WriteString("  the wish is granted\n")
		case Announce:
			if err := a.Payload.Validate(); err != nil {
				t.Fatal(err)
			}
			p.out.WriteString("  SAY " + events.ID(a.Payload) + detail(a.Payload) + "\n")
		}
	}
	for _, action := range then {
		fmt.Fprintf(p.out, "  %s %+v\n", strings.ToLower(reflect.TypeOf(action).Name()), action)
	}
	line := ""
	for _, v := range p.state.Versions {
		line += fmt.Sprintf(" %d=%s", v.Number, v.Stage)
	}
	if p.state.Alarm != "" {
		line += " ALARM " + p.state.Alarm
	}
	if p.state.NextAt != nil {
		line += " next " + p.state.NextAt.Sub(day).Round(time.Minute).String()
	}
	if line != p.said {
		p.said = line
		p.out.WriteString("  state" + line + "\n")
	}
}

func detail(payload events.Payload) string {
	switch e := payload.(type) {
	case events.CredentialRotated:
		return fmt.Sprintf(" previous %d by %s", e.Previous, e.Trigger)
	case events.CredentialRevoked:
		return fmt.Sprintf(" %s, %d sessions ended, drained %v", e.Cause, e.SessionsEnded, e.DrainedProven)
	case events.CredentialExpiring:
		return " " + e.Reason
	}
	return ""
}
