package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestAnyHistoryEndsAsTheSourceHasIt lets rows be written, moved back and forth in time, deleted and written again, while requests fail, and
// compares in the end.
func TestAnyHistoryEndsAsTheSourceHasIt(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, server := range []string{"whole", "bare", "mute"} {
		t.Run(server, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			t.Logf("seed %d", seed)
			s := newSite(t)
			s.erp.bare, s.erp.mute = server == "bare", server == "mute"
			var mu sync.Mutex // requests come while the test writes
			now, written := monday, 0
			s.erp.clock = func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now
			}
			chance := func(n int) bool {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n) == 0
			}
			write := func() {
				mu.Lock()
				defer mu.Unlock()
				written++
				at := now.Add(-time.Duration(random.Int64N(int64(time.Second)))) // as it should be
				switch random.IntN(6) {
				case 0:
					at = now.Truncate(time.Second).Add(-time.Second) // many rows share it
				case 1:
					at = now.Add(-time.Duration(random.Int64N(int64(50 * time.Minute)))) // a long transaction
				case 2:
					at = now.Add(-time.Duration(random.Int64N(int64(1000 * time.Hour)))) // from a backup
				case 3:
					at = time.Time{} // by SQL
				}
				s.erp.put("invoice", 1+random.Int64N(120), at.Truncate(time.Microsecond), fmt.Sprintf("version %d", written))
			}
			for range 60 {
				write()
			}
			for round := range 8 {
				for range random.IntN(15) {
					write()
					if chance(3) {
						s.erp.remove("invoice", 1+random.Int64N(120))
					}
				}
				mu.Lock()
				now = now.Add(time.Duration(1+random.Int64N(40)) * time.Minute)
				mu.Unlock()
				s.erp.breaks(func(w http.ResponseWriter, _ *http.Request) bool {
					if round%2 == 0 && chance(12) {
						w.WriteHeader(503)
						return true
					}
					if chance(5) {
						write() // between two pages
					}
					return false
				})
				if said, err := s.once(t); err != nil && round%2 == 1 {
					t.Fatalf("round %d: %v\n%s", round, err, said)
				}
			}
			s.erp.breaks(nil)
			mu.Lock()
			now = now.Add(time.Minute)
			mu.Unlock()
			s.mustOnce(t)
			s.mustOnce(t) // what was written while one compared is found by the next
			s.mustMatch(t, "invoice")
			s.mustAnnounce(t)
		})
	}
}
