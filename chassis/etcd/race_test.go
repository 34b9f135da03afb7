package etcd_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
)

// panel are three members that answer as the test says, and who was asked.
type panel struct {
	members []*clientv3.Client
	silent  [3]bool
	failing [3]bool

	mu sync.Mutex
}

func newPanel(t *testing.T) *panel {
	t.Helper()
	return &panel{members: connect(t, dead, dead, dead).Endpoints()}
}

var errFails = errors.New("it fails")

// farther away are members 1 and 2.
const farther = 20 * time.Millisecond

func (p *panel) call(ctx context.Context, member *clientv3.Client) (int, error) {
	n := 0
	for p.members[n] != member {
		n++
	}
	p.mu.Lock()
	silent, failing := p.silent[n], p.failing[n]
	p.mu.Unlock()
	switch {
	case silent:
		<-ctx.Done()
		return 0, ctx.Err()
	case failing:
		return 0, errFails
	case n != 0:
		select {
		case <-time.After(farther):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return n, nil
}

// be makes members silent or failing; calls of before may still be under way.
func (p *panel) be(silent, failing [3]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent, p.failing = silent, failing
}

// ask gives who answered, how many were asked and how long it took, in a bubble's time.
func (p *panel) ask(t *testing.T, n *etcd.Nearest) (winner int, asked int32, took time.Duration) {
	t.Helper()
	var heard atomic.Int32
	began := time.Now()
	winner, err := etcd.Ask(within(t, 10*time.Second), n, func(ctx context.Context, member *clientv3.Client) (int, error) {
		heard.Add(1)
		return p.call(ctx, member)
	})
	took = time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // members that are asked at once may hear of it after the first answer
	return winner, heard.Load(), took
}

// bubble plays with three members in a time of its own: what is waited for takes as long as it says, however busy the machine is.
func bubble(t *testing.T, play func(t *testing.T, p *panel)) {
	t.Helper()
	p := newPanel(t)
	synctest.Test(t, func(t *testing.T) { play(t, p) })
}

func TestTheNearestMemberIsAskedAloneWhileItAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, p *panel) {
		nearest := etcd.NewNearest(p.members, time.Minute)
		for range 3 {
			if winner, asked, _ := p.ask(t, nearest); winner != 0 || asked != 1 {
				t.Errorf("member %d answered, %d were asked", winner, asked)
			}
		}
	})
}

func TestASilentNearestMemberCostsThePatienceOnce(t *testing.T) {
	const patience = 300 * time.Millisecond
	bubble(t, func(t *testing.T, p *panel) {
		nearest := etcd.NewNearest(p.members, patience)
		p.be([3]bool{true}, [3]bool{})
		if winner, asked, took := p.ask(t, nearest); winner == 0 || asked != 3 || took != patience+farther {
			t.Errorf("member %d answered after %s, %d were asked", winner, took, asked)
		}
		for range 3 {
			if winner, asked, took := p.ask(t, nearest); winner == 0 || asked != 3 || took != farther {
				t.Errorf("member %d answered after %s, %d were asked: the patience was spent again", winner, took, asked)
			}
		}
		p.be([3]bool{}, [3]bool{})
		if winner, asked, _ := p.ask(t, nearest); winner != 0 || asked != 3 {
			t.Errorf("it is back: member %d answered, %d were asked", winner, asked)
		}
		if winner, asked, _ := p.ask(t, nearest); winner != 0 || asked != 1 {
			t.Errorf("it was the first to answer again: member %d answered, %d were asked", winner, asked)
		}
	})
}

func TestWhatOneRemembersOfAMemberIsNotForgottenForAnother(t *testing.T) {
	bubble(t, func(t *testing.T, p *panel) {
		const patience = 5 * time.Second
		others := etcd.NewNearest(p.members, patience)
		own := others.Apart()
		p.be([3]bool{true}, [3]bool{})
		if _, asked, took := p.ask(t, own); asked != 3 || took != patience+farther {
			t.Errorf("%d were asked, answered after %s", asked, took)
		}
		p.be([3]bool{}, [3]bool{})
		if winner, asked, _ := p.ask(t, others); winner != 0 || asked != 1 {
			t.Errorf("the others' calls: member %d answered, %d were asked", winner, asked)
		}
		p.be([3]bool{true}, [3]bool{})
		if _, asked, took := p.ask(t, own); asked != 3 || took != farther {
			t.Errorf("again: %d were asked, answered after %s", asked, took)
		}
	})
}

func TestTheMemberAtTheOwnAddressComesFirstWhereverItStands(t *testing.T) {
	for _, c := range []struct {
		own, members, want string
		known              bool
	}{
		{"127.0.0.12:8701", "http://127.0.0.11:2379 http://127.0.0.12:2379 http://127.0.0.13:2379", "http://127.0.0.12:2379 http://127.0.0.11:2379 http://127.0.0.13:2379", true},
		{"b.example:8701", "a.example:2379 c.example:2379 b.example:2379", "b.example:2379 a.example:2379 c.example:2379", true},
		{"[fd00::b]:8701", "http://[fd00::a]:2379 http://[fd00::b]:2379/", "http://[fd00::b]:2379/ http://[fd00::a]:2379", true},
		{"127.0.0.1:8701", "127.0.0.1:1 127.0.0.1:2", "127.0.0.1:1 127.0.0.1:2", true},
		{"127.0.0.1:8701", "127.0.0.11:2379 127.0.0.12:2379", "127.0.0.11:2379 127.0.0.12:2379", false},
		{":8701", "127.0.0.11:2379 127.0.0.12:2379", "127.0.0.11:2379 127.0.0.12:2379", false},
		{"", "127.0.0.11:2379 127.0.0.12:2379", "127.0.0.11:2379 127.0.0.12:2379", false},
	} {
		settings := chassis.NewSettings()
		settings.HTTPAddr, settings.Etcd.Endpoints = c.own, strings.Fields(c.members)
		client, err := etcd.Connect(settings)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var order []string
		for _, member := range client.Endpoints() {
			order = append(order, member.Endpoints()...)
		}
		if first, own := client.First(); first != order[0] || own != c.known {
			t.Errorf("at %q: %s is asked first, known as the own %t", c.own, first, own)
		}
		if got := strings.Join(order, " "); got != c.want {
			t.Errorf("at %q: %s, want %s", c.own, got, c.want)
		}
	}
}

func TestANearestMemberThatFailsIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, p *panel) {
		nearest := etcd.NewNearest(p.members, time.Minute)
		p.be([3]bool{}, [3]bool{true})
		if winner, asked, took := p.ask(t, nearest); winner == 0 || asked != 3 || took != farther {
			t.Errorf("member %d answered after %s, %d were asked", winner, took, asked)
		}
		p.be([3]bool{}, [3]bool{true, true, true})
		if _, err := etcd.Ask(within(t, 10*time.Second), nearest, p.call); !errors.Is(err, errFails) {
			t.Errorf("all fail: %v", err)
		}
	})
}

func TestWithNobodyAnsweringTheDeadlineHolds(t *testing.T) {
	bubble(t, func(t *testing.T, p *panel) {
		p.be([3]bool{true, true, true}, [3]bool{})
		nearest := etcd.NewNearest(p.members, 20*time.Millisecond)
		began := time.Now()
		_, err := etcd.Ask(within(t, 100*time.Millisecond), nearest, p.call)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 100*time.Millisecond {
			t.Errorf("%v after %s", err, took)
		}
		p.be([3]bool{}, [3]bool{})
		if _, asked, _ := p.ask(t, nearest); asked != 3 {
			t.Errorf("after an outage %d were asked, not all at once", asked)
		}
	})
}
