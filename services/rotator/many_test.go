package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// What is asked of one rotator.
const (
	manyCredentials = 200
	manyTTL         = time.Minute
	mostCPU         = 0.20 // of a core
	mostMemory      = 100 << 20
)

// TestTwoHundredCredentialsOfAMinuteUnderOneRotator is the measurement of bench/rotation -many. Each is a database user of 60 s that cannot be renewed, so that
// each is replaced about every 36 s.
func TestTwoHundredCredentialsOfAMinuteUnderOneRotator(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("OFITEC_BENCH_MANY"))
	if err != nil {
		t.Skip("cd bench && go run ./rotation -many runs it")
	}
	r := startRig(t, "1h", "24h")
	role, err := deploy.VaultOdooRole()
	must(t, err)
	var list strings.Builder
	list.WriteString("credentials:\n")
	for n := range manyCredentials {
		name := fmt.Sprintf("m%03d-app", n) // eight letters: all that Vault takes into a user's name
		r.vault.databaseRole(t, name, "60s", "60s", role)
		fmt.Fprintf(&list, "  - {name: %s, kind: database, deploy: false}\n", name)
	}
	must(t, r.vault.root.Sys().PutPolicy("rotator", `path "*" { capabilities = ["create", "read", "update", "list", "sudo"] }`))
	p := r.rotator(t, events.RegionA, configFile(t, list.String()), "OFITEC_STRAY_AFTER=5m")
	await(t, 3*time.Minute, "each has a version in use", func() bool { return len(r.inUseNow(t)) == manyCredentials })
	cpu, begun, rotations := metric(t, p.Await(t, "/metrics", 200), "process_cpu_seconds_total"), time.Now(), r.minted(t)
	expired, least := map[string]bool{}, manyTTL
	for time.Since(begun) < span {
		for name, ends := range r.inUseNow(t) {
			left := time.Until(ends)
			least = min(least, left)
			if left <= 0 {
				expired[name] = true
			}
		}
		time.Sleep(time.Second) // a measurement
	}
	elapsed := time.Since(begun)
	metrics := p.Await(t, "/metrics", 200)
	share := (metric(t, metrics, "process_cpu_seconds_total") - cpu) / elapsed.Seconds()
	memory := metric(t, metrics, "process_resident_memory_bytes")
	t.Logf("%d credentials of %s for %s: %d rotations, %d expired unrotated, the shortest life left %s; %.3f of a core, %.0f MB",
		manyCredentials, manyTTL, elapsed.Round(time.Second), r.minted(t)-rotations, len(expired), least.Round(100*time.Millisecond), share, memory/(1<<20))
	if len(expired) > 0 {
		t.Errorf("expired unrotated: %d", len(expired))
	}
	if share > mostCPU {
		t.Errorf("%.3f of a core, want %.2f or less", share, mostCPU)
	}
	if memory > mostMemory {
		t.Errorf("%.0f MB, want 100 or less", memory/(1<<20))
	}
}

// inUseNow is when each credential's version in use ends.
func (r *rig) inUseNow(t *testing.T) map[string]time.Time {
	t.Helper()
	ends := map[string]time.Time{}
	for _, s := range r.all(t) {
		if v := current(s); v.Lease != "" {
			ends[s.Name] = v.ExpiresAt
		}
	}
	return ends
}

// minted is how many versions were made so far.
func (r *rig) minted(t *testing.T) (count int64) {
	t.Helper()
	for _, s := range r.all(t) {
		if n := len(s.Versions); n > 0 {
			count += s.Versions[n-1].Number
		}
	}
	return count
}

func (r *rig) all(t *testing.T) (all []state.Credential) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, err := r.etcd.Get(ctx, state.PrefixCred, clientv3.WithPrefix())
	must(t, err)
	for _, kv := range answer.Kvs {
		s, err := state.Decode[state.Credential](kv.Value)
		must(t, err)
		all = append(all, s)
	}
	return all
}

func metric(t *testing.T, metrics, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(t, err)
			return number
		}
	}
	t.Fatalf("no %s in the metrics", name)
	return 0
}
