package failover

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest/transcript"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// TestTranscriptsStayAsTheyWereTold plays each story of testdata: a line that begins in the first column says when what happens, the indented lines below are what
// comes of it until the next one.
func TestTranscriptsStayAsTheyWereTold(t *testing.T) { transcript.Tell(t, play) }

func play(t *testing.T, happens iter.Seq[string], out *bytes.Buffer) {
	t.Helper()
	var w *world
	for line := range happens {
		fields := strings.Fields(line)
		at, err := strconv.ParseFloat(fields[0], 64)
		if err != nil || len(fields) < 2 {
			t.Fatalf("want a time and what happens: %q", line)
		}
		if w == nil {
			w = newWorld(out, nil)
		}
		for w.now < time.Second+time.Duration(at*10+0.5)*100*time.Millisecond {
			w.step()
		}
		out.WriteString(line + "\n")
		if !w.happen(fields[1], fields[2:]) {
			t.Fatalf("nothing like this happens: %q", line)
		}
	}
	for _, violation := range w.violations {
		t.Error(violation)
	}
}

// happen is what a story or chance does to the world.
func (w *world) happen(verb string, args []string) bool {
	argument := func(n int) string {
		if n < len(args) {
			return args[n]
		}
		return ""
	}
	region := events.Region(argument(0))
	p, known := w.places[region]
	switch verb {
	case "end", "look":
		return true
	case "cut":
		w.cut[[2]events.Region{region, events.Region(argument(1))}] = true
		return known
	case "heal":
		clear(w.cut)
		return true
	case "etcd-away":
		w.etcdDown = true
		return true
	case "etcd-back":
		w.etcdDown = false
		return true
	case "write-active":
		w.failover.Active = argument(0)
		return true
	case "name-server":
		w.nameBroken = argument(0) == "away"
		return true
	case "pause", "resume", "acknowledge", "override", "switchover", "synchronous":
		w.request(verb, args)
		return true
	}
	if !known {
		return false
	}
	switch verb {
	case "kill":
		p.dead, p.opened, w.arbiters[region].stopped = true, false, true
	case "revive":
		w.revive(p)
	case "stop-arbiter":
		w.arbiters[region].stopped = true
	case "continue-arbiter":
		w.wake(region)
	case "crash-database":
		p.crashed = true
	case "restart-database":
		p.crashed, p.restarts = true, true
		w.report(p)
	case "database-back":
		p.crashed, p.restarts = false, false
	case "red", "green":
		p.red = verb == "red"
	case "gates-unread", "gates-read":
		p.blind = verb == "gates-unread"
	case "unprobed", "probed":
		p.unprobed = verb == "unprobed"
	case "lag":
		seconds, _ := strconv.ParseFloat(argument(1), 64)
		p.behind = time.Duration(seconds * float64(time.Second))
	case "mute", "unmute":
		p.mute = verb == "mute"
	case "promotion":
		seconds, _ := strconv.ParseFloat(argument(1), 64)
		p.promotes = time.Duration(seconds * float64(time.Second))
	case "replay":
		w.replay(region)
	default:
		return false
	}
	return true
}

// revive brings a dead region back, with a database that knows nothing of what has happened since, and a new process of each service.
func (w *world) revive(p *place) {
	p.dead, w.arbiters[p.region].stopped = false, false
	fresh := newWorld(bytes.NewBuffer(nil), nil)
	p.keeper = fresh.places[p.region].keeper
	p.opened, p.receipt, p.fencing, p.promising, p.rejoining = false, nil, 0, 0, 0
	w.arbiters[p.region].state = New(testSettings(p.region))
}

// wake lets a stopped arbiter go on: it first acts on what it read before, then learns that it does not lead.
func (w *world) wake(region events.Region) {
	m := w.arbiters[region]
	m.stopped = false
	if m.stale != nil {
		w.tell(region, *m.stale)
	}
	if w.leader != region {
		w.tell(region, Deposed{})
	}
}

// replay sends an observer's last report again, an old one, one from the future and one of a stranger.
func (w *world) replay(observer events.Region) {
	s := w.arbiters[events.RegionC].state
	last := s.heard[s.place(sight{observer, events.RegionA})].report
	w.tell(events.RegionC, Heard{last})
	old := last
	old.Number, old.ObservedAt = last.Number+1, last.ObservedAt.Add(-time.Minute)
	w.tell(events.RegionC, Heard{old})
	early := last
	early.Number, early.ObservedAt = last.Number+2, last.ObservedAt.Add(time.Minute)
	w.tell(events.RegionC, Heard{early})
	strange := last
	strange.Observer = "x"
	w.tell(events.RegionC, Heard{strange})
}

// request asks as an operator does: pause, resume, acknowledge, override b, switchover b; a number behind it is the epoch that the operator saw, "dry" tries.
func (w *world) request(verb string, args []string) {
	w.revision++
	r := state.Request{Verb: state.Verb(verb), Epoch: w.failover.Failover.Epoch, Act: events.Act{
		Actor: "ana", Reason: "told to", Request: "r" + strconv.Itoa(len(w.requests)+1), At: began.Add(w.now),
	}}
	for _, arg := range args {
		epoch, err := strconv.ParseUint(arg, 10, 64)
		until, isTime := strings.CutPrefix(arg, "for=")
		switch {
		case isTime:
			seconds, _ := strconv.ParseFloat(until, 64)
			end := began.Add(w.now + time.Duration(seconds*float64(time.Second)))
			r.Until = &end
		case err == nil:
			r.Epoch = events.Epoch(epoch)
		case arg == "attest":
			r.Attest = "the other region is off"
		case arg == "on", arg == "off":
			r.Mode = state.SyncMode(arg)
		case arg == "dry":
			r.DryRun = true
		default:
			r.To = events.Region(arg)
		}
	}
	w.requests = append(w.requests, Requested{ID: r.Act.Request, Request: r, Revision: w.revision})
}
