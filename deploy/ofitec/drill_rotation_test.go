package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestStackDrillsRotation rotates 50 times in a row (OFITEC_ROTATIONS) while users read and write through both regions, and once more while the active region moves.
// make drills runs it.
func TestStackDrillsRotation(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes an hour; make drills runs it")
	}
	count := 50
	if text := os.Getenv("OFITEC_ROTATIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("OFITEC_ROTATIONS=%q: want 1 or more", text)
		}
		count = n
	}
	s := newStack(t)
	s.start(15 * time.Minute)
	s.credentialsOfAllKinds(t)
	var report strings.Builder
	fmt.Fprintf(&report, "# Drills: %d rotations in a row under load, and one across a switchover\n\n%s\n\n", count, machine())
	s.rotateAgainAndAgain(t, count, &report)
	s.rotateAcrossASwitchover(t, &report)
	s.secretsAreKept(t)
	fmt.Fprintf(&report, "\nEvery check held: %v.\n", !t.Failed())
	writeEvidence(t, "rotations", report.String())
}

// theOnlyUser waits until one user of Vault is left, which both colours of a region are on, with one lease.
func (s *stack) theOnlyUser(t *testing.T, r layout.Region, within time.Duration) string {
	t.Helper()
	var user string
	s.eventually("one user, one lease, both colours on it", within, func() error {
		users, err := s.vaultUsers(r)
		if err != nil || len(users) != 1 {
			return fmt.Errorf("users %v, %w", users, errors.Join(err, errors.New("want one")))
		}
		user = users[0]
		if leases, err := s.leases(); err != nil || len(leases) != 1 {
			return fmt.Errorf("leases %v, %w", leases, errors.Join(err, errors.New("want one")))
		}
		return s.bothColoursOn(r, user)
	})
	return user
}

// leases lists the living leases of the application's role, as Vault has them.
func (s *stack) leases() ([]string, error) {
	o, err := newOperator(s.layout)
	if err != nil {
		return nil, err
	}
	var keys struct {
		Root string `json:"root_token"`
	}
	content, err := os.ReadFile(filepath.Join(s.layout.OperatorDir(), "vault.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, &keys); err != nil {
		return nil, err
	}
	problem := errors.New("no Vault answers")
	for _, r := range layout.Regions {
		request, err := http.NewRequest(http.MethodGet, "https://"+s.layout.Addressing.Addr(r, layout.PortVault)+"/v1/sys/leases/lookup/database/creds/odoo-app/?list=true", nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("X-Vault-Token", keys.Root)
		response, err := o.http.Do(request)
		if err != nil {
			problem = err
			continue
		}
		var list struct{ Data struct{ Keys []string } }
		err = json.NewDecoder(response.Body).Decode(&list)
		_ = response.Body.Close()
		if err == nil && response.StatusCode == http.StatusOK {
			return list.Data.Keys, nil
		}
		problem = fmt.Errorf("region %s: Vault answers %d: %w", r, response.StatusCode, errors.Join(err, errors.New("want 200")))
	}
	return nil, problem
}

// deadSessions counts sessions whose user is no more.
func (s *stack) deadSessions(t *testing.T, r layout.Region) (count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.superuser(ctx, r, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	query := `SELECT count(*) FROM pg_stat_activity a WHERE usesysid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = a.usesysid)`
	if err := conn.QueryRow(ctx, query).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func (s *stack) rotateAgainAndAgain(t *testing.T, count int, report *strings.Builder) {
	active := s.active(t)
	user := s.theOnlyUser(t, active, 4*time.Minute)
	users, began := s.startLoad("rotations"), time.Now()
	for n := 1; n <= count && !t.Failed(); n++ {
		if out, code := s.runWithin(8*time.Minute, "credentials", "rotate", "odoo-app", "--reason", fmt.Sprintf("drill %d of %d", n, count), "--wait"); code != exitDone {
			t.Errorf("rotation %d: credentials rotate exits %d: %s", n, code, out)
		}
		next := s.theOnlyUser(t, active, time.Minute)
		if next == user {
			t.Errorf("rotation %d: the user is %s as before", n, user)
		}
		user = next
		for _, r := range layout.DataRegions {
			if dead := s.deadSessions(t, r); dead > 0 {
				t.Errorf("rotation %d: %d sessions of dead users in region %s", n, dead, r)
			}
		}
	}
	took := time.Since(began)
	users.stop(t)
	rate := float64(users.requests) / took.Seconds()
	if rate < 30 {
		t.Errorf("%.0f requests a second, want 30: it is no load", rate)
	}
	fmt.Fprintf(report, "%d rotations in %s, each through both regions: %d requests through the web proxies, %.0f a second, half of them writes, half by the region that forwards; %d failed. "+
		"After each rotation one user in pg_roles, one lease in Vault, both colours on it, no session of a dead user in either database.\n",
		count, took.Round(time.Second), users.requests, rate, len(users.failures))
}

// rotateAcrossASwitchover moves the writes to the other region while a canary is watched: the rotation ends by what is, in both regions, and nothing is left over.
func (s *stack) rotateAcrossASwitchover(t *testing.T, report *strings.Builder) {
	active := s.active(t)
	before := s.theOnlyUser(t, active, time.Minute)
	began := time.Now()
	if out, code := s.run("credentials", "rotate", "odoo-app", "--reason", "across a switchover"); code != exitDone {
		t.Fatalf("credentials rotate exits %d: %s", code, out)
	}
	s.eventually("a canary is watched", 2*time.Minute, func() error {
		out, _ := s.run("credentials", "list")
		if !strings.Contains(out, "watching") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if out, code := s.runWithin(2*time.Minute, "failover", "switchover", "--to", string(active.Peer()), "--reason", "in the middle of a rotation"); code != exitDone {
		t.Fatalf("failover switchover exits %d: %s", code, out)
	}
	after := s.theOnlyUser(t, active.Peer(), 6*time.Minute)
	s.eventually("the other region's colours are on it too", 6*time.Minute, func() error { return s.bothColoursOn(active, after) })
	if dead := s.deadSessions(t, active.Peer()); dead > 0 {
		t.Errorf("%d sessions of dead users", dead)
	}
	s.eventually("writes go through", 30*time.Second, func() error { return s.write(active.Peer(), "after-rotation", 1) })
	fmt.Fprintf(report, "\nA switchover from %s to %s while the canary was watched: %s later one user and one lease, all four colours on it (the user %s), nothing left over.\n",
		active, active.Peer(), time.Since(began).Round(time.Second), map[bool]string{true: "of before: the new one was rolled back", false: "is new"}[after == before])
}
