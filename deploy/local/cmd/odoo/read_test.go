package main

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// copyOf is a stand-in whose primary is out of reach, on a standby that follows it.
func copyOf(t *testing.T) (c *colour, primary, standby *server) {
	t.Helper()
	primary = startPrimary(t)
	standby = primary.standby()
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	read.open(standby)
	c = startColour(t, "blue", write, read)
	c.prepared()
	if r, body := c.do("POST", "/of/ledger", `{"writer":"w1","seq":1}`); r.StatusCode != 200 {
		t.Fatalf("a write answers %d %s", r.StatusCode, body)
	}
	if r, _ := c.get("/of/ledger?writer=w1"); r.Header.Get("X-Ofitec-Staleness-Seconds") != "0" {
		t.Errorf("a read beside the writes is %q old, want 0", r.Header.Get("X-Ofitec-Staleness-Seconds"))
	}
	write.close()
	eventually(t, "the copy is read", func() bool {
		r, body := c.get("/of/ledger?writer=w1")
		return r.Header.Get("X-Ofitec-Database") == "read-only" && strings.Contains(body, `"seq":1`)
	})
	return c, primary, standby
}

// beat commits on the primary as often as the arbiter's heartbeat does, until the test ends.
func beat(t *testing.T, primary *server) {
	t.Helper()
	primary.sql("CREATE TABLE beat (at timestamptz)")
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				primary.sql("INSERT INTO beat VALUES (now())")
			}
		}
	})
	t.Cleanup(func() { close(done); beating.Wait() })
}

func staleness(c *colour, header ...string) (seconds float64, code int, body string) {
	r, body := c.do("GET", "/of/ledger?writer=w1", "", header...)
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Ofitec-Staleness-Seconds"), 64)
	if err != nil {
		seconds = -1
	}
	return seconds, r.StatusCode, body
}

func TestAReaderOfACopyIsToldHowOldItIsAndMayRefuseIt(t *testing.T) {
	c, primary, standby := copyOf(t)
	beat(t, primary)
	eventually(t, "the copy is fresh", func() bool {
		age, code, _ := staleness(c, "X-Ofitec-Max-Staleness", "2")
		return code == 200 && age >= 0 && age < 2
	})
	if r, body := c.do("POST", "/of/ledger", `{"writer":"w1","seq":2}`); r.StatusCode != 503 {
		t.Errorf("a write on a copy answers %d %s", r.StatusCode, body)
	}
	standby.sql("SELECT pg_wal_replay_pause()")
	eventually(t, "the copy is known to be old", func() bool { age, _, _ := staleness(c); return age > 2 })
	if _, code, body := staleness(c, "X-Ofitec-Max-Staleness", "2"); code != 503 || !strings.Contains(body, "X-Ofitec-Max-Staleness") {
		t.Errorf("a reader who wants 2 s gets %d %s", code, body)
	}
	if _, code, _ := staleness(c, "X-Ofitec-Max-Staleness", "3600"); code != 200 {
		t.Errorf("a reader who takes an hour gets %d", code)
	}
	for _, wrong := range []string{"soon", "-1", "NaN"} {
		if _, code, body := staleness(c, "X-Ofitec-Max-Staleness", wrong); code != 400 || !strings.Contains(body, wrong) {
			t.Errorf("%s answers %d %s", wrong, code, body)
		}
	}
	_, metrics := c.get("/metrics")
	if !strings.Contains(metrics, `odoo_read_staleness_seconds{colour="blue"} `) || strings.Contains(metrics, `odoo_read_staleness_seconds{colour="blue"} 0`+"\n") {
		t.Error("the gauge does not say how old the copy is")
	}
	standby.sql("SELECT pg_wal_replay_resume()")
	eventually(t, "the copy is fresh again", func() bool { age, _, _ := staleness(c); return age >= 0 && age < 2 })
}

// TestReadsOnACopyAreServedBesideEachOther measures how much the readers of a copy get, and how old it is. It fails only where one is refused.
func TestReadsOnACopyAreServedBesideEachOther(t *testing.T) {
	c, primary, _ := copyOf(t)
	beat(t, primary)
	eventually(t, "the copy is fresh", func() bool { age, _, _ := staleness(c); return age >= 0 && age < 2 })
	var served, refused atomic.Int64
	var mu sync.Mutex
	oldest := 0.0
	began := time.Now()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for time.Since(began) < time.Second {
				age, code, _ := staleness(c)
				if code != 200 {
					refused.Add(1)
					continue
				}
				served.Add(1)
				mu.Lock()
				oldest = max(oldest, age)
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	t.Logf("%d reads a second by 4 readers, one connection each; the oldest copy was %.3f s old", served.Load(), oldest)
	if refused.Load() > 0 || served.Load() == 0 {
		t.Errorf("%d reads were served, %d refused", served.Load(), refused.Load())
	}
}
