package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// published is a server with one mart of one row, and the mart's digest.
func published(t *testing.T) (s *Server, conn *pgx.Conn, m Mart, digest string) {
	t.Helper()
	dsn := postgrestest.Bare(t)
	s, err := New(dsn, "")
	if err != nil {
		t.Fatal(err)
	}
	if conn, err = pgx.Connect(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	m = Mart{Name: "mart_one", Columns: []Column{{Name: "id", Type: "bigint"}}, Grain: []string{"id"}}
	query, known := sums(m.Columns, "(SELECT 1::bigint AS id)")
	if !known {
		t.Fatal("there is no digest of a number")
	}
	have, err := ask(t.Context(), conn, query)
	if err != nil {
		t.Fatal(err)
	}
	digest = have.String()
	content := Content{Rows: 1, Digest: digest}
	m.Know = func(context.Context) (Content, error) { return content, nil }
	m.Write = func(_ context.Context, out io.Writer) (Content, error) {
		_, err := fmt.Fprintln(out, 1)
		return content, err
	}
	done, err := s.Publish(t.Context(), Publication{Region: "a", Load: 1, At: time.Now()}, []Mart{m})
	if err != nil || done.Unsettled != nil {
		t.Fatal(err, done.Unsettled)
	}
	return s, conn, m, digest
}

// The commands in between are what somebody else does to the database.
func TestAMartThatIsNotAsPublishedWaitsUntilItIsReplacedWhoeverHasFoundIt(t *testing.T) {
	s, conn, m, digest := published(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func(want ...string) {
		t.Helper()
		seen, err := s.Current(t.Context())
		if err != nil || !slices.Equal(seen.Waiting, want) {
			t.Fatalf("%v waits, want %v: %v", seen.Waiting, want, err)
		}
	}
	// What was replaced as a whole is looked at behind the commit. Another region has published something else in between: that is not for this one to judge.
	exec("INSERT INTO mart_one VALUES (2); UPDATE etl_published_mart SET digest = 'of another region'")
	if err := (settling{m, digest}).settle(t.Context(), conn); err != nil {
		t.Errorf("it is told of another's publication: %v", err)
	}
	waiting()
	exec("UPDATE etl_published_mart SET digest = '" + digest + "'")
	if err := (settling{m, digest}).settle(t.Context(), conn); err == nil {
		t.Error("what readers have is not what was published, and it says nothing")
	}
	waiting("mart_one")
	if altered, err := s.Look(t.Context(), []Mart{m}); err != nil || len(altered) != 1 || altered[0].Mart != "mart_one" {
		t.Errorf("a look finds %v, %v", altered, err)
	}
	publish := func() {
		t.Helper()
		if done, err := s.Publish(t.Context(), Publication{Region: "a", Load: 1, At: time.Now()}, []Mart{m}); err != nil || len(done.Replaced) != 1 {
			t.Fatalf("it replaces %v: %v", done.Replaced, err)
		}
	}
	publish()
	waiting()

	// A clock that was ahead for a while must not keep anybody from looking until then.
	now := time.Now().UTC().Truncate(time.Microsecond)
	if _, _, err := s.Verify(t.Context(), now.Add(48*time.Hour), time.Hour, []Mart{m}); err != nil {
		t.Fatal(err)
	}
	exec("UPDATE mart_one SET id = 3")
	if altered, last, err := s.Verify(t.Context(), now, time.Hour, []Mart{m}); err != nil || len(altered) != 1 || !last.Equal(now) {
		t.Errorf("it finds %v at %s, want one at %s: %v", altered, last, now, err)
	}
	waiting("mart_one")
	publish()
	exec("UPDATE mart_one SET id = 4")
	if altered, last, err := s.Verify(t.Context(), now.Add(time.Minute), time.Hour, []Mart{m}); err != nil || len(altered) != 0 || !last.Equal(now) {
		t.Errorf("within the hour it finds %v at %s: %v", altered, last, err)
	}
}

func TestWhatWasDoneByAClockThatWasAheadIsDue(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		last time.Time
		want bool
	}{
		{time.Time{}, true}, {now.Add(-time.Hour), true}, {now.Add(-time.Hour + time.Second), false}, {now, false}, {now.Add(time.Second), true}, {now.Add(48 * time.Hour), true},
	} {
		if have := Due(c.last, now, time.Hour); have != c.want {
			t.Errorf("last %s: %t, want %t", c.last, have, c.want)
		}
	}
}
