package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/settings"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/writer"
)

func TestTheLedgerAcknowledgesCommitsOnceAndListsThem(t *testing.T) {
	primary := startPrimary(t)
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	c := startColour(t, "blue", write, read)
	c.prepared()
	type receipt struct {
		Writer, Region, LSN string
		Seq                 int64
		Attempts, Timeline  int
	}
	var first, second receipt
	for _, into := range []*receipt{&first, &second} {
		r, body := c.do("POST", "/of/ledger", `{"writer":"w1","seq":7}`)
		if err := json.Unmarshal([]byte(body), into); err != nil || r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
	}
	if first.Region != "a" || first.LSN == "" || first.Timeline != 1 || first.Attempts != 1 || second.Attempts != 2 || second.Seq != 7 {
		t.Errorf("receipts are %+v and %+v", first, second)
	}
	var behind bool
	primary.scan(fmt.Sprintf("SELECT pg_current_wal_flush_lsn() >= '%s'::pg_lsn", second.LSN), &behind)
	if !behind {
		t.Errorf("position %s is ahead of the log", second.LSN)
	}
	if r, _ := c.do("POST", "/of/ledger", `{"writer":"w1","seq":3}`); r.StatusCode != 200 {
		t.Fatal("a second write was refused")
	}
	_, body := c.get("/of/ledger?writer=w1")
	var list []receipt
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 2 || list[0].Seq != 3 || list[1].Seq != 7 {
		t.Errorf("list is %s", body)
	}
	if _, body := c.get("/of/ledger?writer=nobody"); strings.TrimSpace(body) != "[]" {
		t.Errorf("nobody's list is %s", body)
	}
	for body, parameter := range map[string]string{`{"seq":1}`: "writer", `{"writer":"w"}`: "seq", `{"writer":"w","seq":-1}`: "seq", `{"writer":"w","seq":1.5}`: "seq",
		`{"writer":7,"seq":1}`: "writer", `seq=1`: "body", `{"writer":"w","seq":1,"x":1}`: "body"} {
		if r, answer := c.do("POST", "/of/ledger", body); r.StatusCode != 400 || !strings.Contains(answer, `"parameter":"`+parameter+`"`) {
			t.Errorf("%s answers %d %s", body, r.StatusCode, answer)
		}
	}
}

func TestALostPrimaryLeavesReadsAndAPromotedStandbyBringsWritesBackWithoutARestart(t *testing.T) {
	primary := startPrimary(t)
	standby := primary.standby()
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	read.open(standby)
	c := startColour(t, "blue", write, read)
	c.prepared()
	health := func(code int, database string) func() bool {
		return func() bool {
			r, body := c.get("/web/health")
			return r.StatusCode == code && strings.Contains(body, `"database":"`+database+`"`)
		}
	}
	eventually(t, "health says writable", health(200, "writable"))
	if r, _ := c.do("POST", "/of/ledger", `{"writer":"w1","seq":1}`); r.StatusCode != 200 {
		t.Fatal("the ledger refused a write")
	}
	var position string
	primary.scan("SELECT pg_current_wal_flush_lsn()::text", &position)
	eventually(t, "the standby has it", func() bool {
		var has bool
		standby.scan("SELECT pg_last_wal_replay_lsn() >= '"+position+"'::pg_lsn", &has)
		return has
	})

	write.close()
	eventually(t, "health says read-only", health(200, "read-only"))
	if r, body := c.do("POST", "/of/ledger", `{"writer":"w1","seq":2}`); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("a write without a primary answers %d %s", r.StatusCode, body)
	}
	r, body := c.get("/of/export/invoice?limit=5")
	if r.StatusCode != 200 || r.Header.Get("X-Ofitec-Database") != "read-only" || r.Header.Get("X-Ofitec-Rows") != "5" {
		t.Errorf("the export on the standby answers %d %v %s", r.StatusCode, r.Header, body)
	}
	if _, body := c.get("/of/ledger?writer=w1"); !strings.Contains(body, `"seq":1`) {
		t.Errorf("the ledger on the standby lists %s", body)
	}
	eventually(t, "the gauge says that writes are away", func() bool {
		_, metrics := c.get("/metrics")
		return strings.Contains(metrics, `odoo_database_writable{colour="blue"} 0`)
	})

	read.close()
	eventually(t, "health fails", health(503, "away"))

	standby.sql("SELECT pg_promote()")
	write.open(standby)
	opened := time.Now()
	eventually(t, "writes are back", func() bool {
		r, _ := c.do("POST", "/of/ledger", `{"writer":"w1","seq":2}`)
		return r.StatusCode == 200
	})
	t.Logf("writes were back %s after the proxy opened", time.Since(opened).Round(time.Millisecond))
	if took := time.Since(opened); took > 3*time.Second {
		t.Errorf("it took %s to reconnect", took)
	}
	if _, metrics := c.get("/metrics"); !strings.Contains(metrics, `odoo_http_request_duration_seconds_bucket{code="200",colour="blue",method="GET",route="/web/health",le="1.2"}`) {
		t.Error("the histogram has no health checks")
	}
}

func TestAStandInStartsWhileTheDatabaseIsAwayAndSeedsOnceItIsThere(t *testing.T) {
	primary := startPrimary(t)
	write, read := newDoor(t), newDoor(t)
	blue, green := startColour(t, "blue", write, read), startColour(t, "green", write, read)
	eventually(t, "health answers without a database", func() bool { r, _ := blue.get("/web/health"); return r.StatusCode == 503 })
	if r, _ := blue.get("/of/export/partner"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("the export answers %d", r.StatusCode)
	}
	write.open(primary)
	blue.prepared()
	green.prepared()
	var seeds, projects int
	var owner, digest string
	primary.scan("SELECT (SELECT count(*) FROM odoo_seed), (SELECT count(*) FROM project), (SELECT tableowner FROM pg_tables WHERE tablename = 'project'), (SELECT digest FROM odoo_seed)", &seeds, &projects, &owner, &digest)
	if seeds != 1 || projects != 24 || owner != "odoo_owner" || len(digest) != 64 {
		t.Errorf("%d seeds, %d projects owned by %s", seeds, projects, owner)
	}
}

func TestOneColourWritesAndTheOtherTakesOver(t *testing.T) {
	primary := startPrimary(t)
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	lines := []string{"ODOO_WRITER=on", "ODOO_WRITER_INTERVAL=5ms", "ODOO_LONG_TRANSACTION=600ms", "ODOO_LONG_TRANSACTION_EVERY=200ms"}
	blue := startColour(t, "blue", write, read, lines...)
	green := startColour(t, "green", write, read, lines...)
	writes := func(c *colour) bool {
		_, metrics := c.get("/metrics")
		return strings.Contains(metrics, fmt.Sprintf("odoo_writer_active{colour=%q} 1", c.name))
	}
	eventually(t, "one colour writes", func() bool { return writes(blue) || writes(green) })
	for range 20 {
		if writes(blue) && writes(green) {
			t.Fatal("both colours write")
		}
		time.Sleep(20 * time.Millisecond)
	}
	first, second := blue, green
	if writes(green) {
		first, second = green, blue
	}
	checkHabits(t, blue)
	checkActs(t, first)

	// The session that holds the turn ends, as in a failover: somebody has it again.
	primary.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND mode = 'ExclusiveLock' AND granted")
	eventually(t, "somebody writes again", func() bool { return writes(blue) || writes(green) })
	if writes(second) {
		first, second = second, first
	}
	first.stop()
	eventually(t, "the other colour writes", func() bool { return writes(second) })
	var late int
	eventually(t, "the second writer commits", func() bool {
		primary.scan("SELECT count(*) FROM cost_line WHERE write_date > now() - interval '1 second'", &late)
		return late > 0
	})
}

// checkHabits looks for what makes Odoo's exports hard: commits behind the cursor, and rows that share a microsecond.
func checkHabits(t *testing.T, c *colour) {
	t.Helper()
	late, shared, cursor := false, false, ""
	var known map[string]bool
	eventually(t, "a long transaction commits behind the cursor, with rows that share a microsecond", func() bool {
		now, moments := map[string]bool{}, map[string]int{}
		for _, row := range c.walk("cost_line", "2026-02-01", "", 100000) {
			id, moment := row["cost_line_id"].(json.Number).String(), row["write_date"].(string)
			now[id] = true
			moments[moment]++
			shared = shared || moments[moment] > 1
			late = late || known != nil && !known[id] && moment < cursor
			cursor = max(cursor, moment)
		}
		known = now
		return late && shared
	})
}

// checkActs waits until every kind of transaction has been committed, and wants none to have failed.
func checkActs(t *testing.T, c *colour) {
	t.Helper()
	var missing, metrics string
	defer func() {
		if t.Failed() {
			t.Logf("the last kind that was missing is %s", missing)
		}
	}()
	eventually(t, "every kind of transaction is committed", func() bool {
		_, metrics = c.get("/metrics")
		for _, missing = range writer.Kinds() {
			if !strings.Contains(metrics, fmt.Sprintf(`odoo_writer_transactions_total{colour=%q,kind=%q,outcome="committed"}`, c.name, missing)) {
				return false
			}
		}
		return true
	})
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "odoo_writer_transactions_total") && strings.Contains(line, `outcome="failed"`) {
			t.Errorf("transactions failed: %s", line)
		}
	}
}

func TestAPortInUseIsAFailureThatNamesIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = run(context.Background(), settings.Settings{Addr: l.Addr().String()}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestWrongUseEndsWithTwo(t *testing.T) {
	for _, args := range [][]string{{}, {"--env"}, {"--env", "/nowhere/.env"}, {"--env", "x", "y"}, {"--port", "1"}} {
		if status := realMain(args); status != 2 {
			t.Errorf("%v ends with %d", args, status)
		}
	}
}
