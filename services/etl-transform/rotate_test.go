package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// init lets the test's binary be a transform that is killed behind a step, or a process that has a file open.
func init() {
	if path := os.Getenv("OFITEC_TEST_HOLD"); path != "" {
		db, err := duckdb.Open(context.Background(), path, NewConfig().engine(false))
		if err == nil {
			_, err = db.ExecContext(context.Background(), "CREATE TABLE a (b INTEGER)")
		}
		fmt.Println("held", err)
		time.Sleep(time.Hour) // until it is killed
	}
	if point := os.Getenv("OFITEC_TEST_KILL_AT"); point != "" {
		failPoint = func(here string) {
			if here == point {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal is there
			}
		}
	}
}

var aToken = regexp.MustCompile(`(rut|rutx|email|phone)_[A-Za-z0-9_-]{20,}`)

// tokensIn are all tokens in a folder's warehouses and copies for readers, as their own readers show them: values are packed in the files.
func tokensIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	c := NewConfig()
	c.Warehouse = folder
	note := func(text string) {
		for _, one := range aToken.FindAllString(text, -1) {
			found[one] = true
		}
	}
	files, _ := filepath.Glob(filepath.Join(folder, "ofitec.duckdb*"))
	files = append(files, filepath.Join(folder, "snapshot", "ofitec.duckdb"))
	for _, file := range files {
		if strings.HasSuffix(file, ".wal") {
			t.Errorf("there is still a log: %s", file)
			continue
		}
		db := openDuck(t, c, file, true)
		for _, table := range []string{"stage_partner", "vault_s_partner", "stage_partner_contact", "vault_s_partner_contact", "mart_dim_partner", "etl_quarantine"} {
			var text string
			if err := db.QueryRowContext(t.Context(), "SELECT coalesce(string_agg(CAST(x AS VARCHAR), ' '), '') FROM "+table+" AS x").Scan(&text); err != nil { // all columns
				t.Fatal(err)
			}
			note(text)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := openDuck(t, c, filepath.Join(folder, "snapshot", "ofitec.duckdb"), true)
	defer db.Close()
	parquet, _ := filepath.Glob(filepath.Join(folder, "marts", "*.parquet"))
	for _, file := range parquet {
		var text string
		if err := db.QueryRowContext(t.Context(), "SELECT coalesce(string_agg(CAST(x AS VARCHAR), ' '), '') FROM read_parquet('"+file+"') AS x").Scan(&text); err != nil {
			t.Fatal(err)
		}
		note(text)
	}
	return found
}

// sealerOf is the key that a file holds.
func sealerOf(t *testing.T, path string) *token.Sealer {
	t.Helper()
	s, err := token.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustBeBy fails when a token of the folder was made by another key, or there is none.
func mustBeBy(t *testing.T, folder string, key *token.Sealer) {
	t.Helper()
	found := tokensIn(t, folder)
	if len(found) < 3 {
		t.Fatalf("there are %d tokens, want those of a partner", len(found))
	}
	for one := range found {
		if _, err := key.Reveal(kindOf(one), one); err != nil {
			t.Errorf("%s is not by the key: %v", one, err)
		}
	}
}

// withNextKey puts the key that is to follow beside the one in use.
func withNextKey(t *testing.T, folder, letter string) *token.Sealer {
	t.Helper()
	next := filepath.Join(folder, "token.key") + token.NextSuffix
	if err := os.WriteFile(next, bytes.Repeat([]byte(letter), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	return sealerOf(t, next)
}

// copied gives a folder with copies for readers, which only a service makes.
func copied(t *testing.T, folder string) {
	t.Helper()
	c := NewConfig()
	c.Warehouse, c.TokenKeyFile, c.Engine.Threads = folder, filepath.Join(folder, "token.key"), 1
	r := &rotation{config: c, target: sealerOf(t, c.TokenKeyFile)}
	if err := os.MkdirAll(filepath.Join(folder, "snapshot"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(snapshotFile(folder), []byte("not one yet"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until = time.Now().Add(time.Minute)
	if err := r.renewCopies(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestARotationOfTheTokenKeyThatIsKilledBehindAnyStepGoesOnAndLeavesNoOldToken(t *testing.T) {
	folder, env, s := loadedOnce(t)
	s.keep("partner", strings.Replace(partners, "7,Constructora", "8,Other", 1))
	must(t, 0, env, "rebuild")
	copied(t, folder)
	mustBeBy(t, folder, sealerOf(t, filepath.Join(folder, "token.key")))
	// One rotation is killed behind one step after the other; as a drill, another one behind each step.
	rotations := [][]string{{"recorded", "built", "put aside", "copied", "removed"}}
	if os.Getenv("OFITEC_DRILLS") == "1" {
		rotations = append(rotations, []string{"recorded"}, []string{"built"}, []string{"put aside"}, []string{"offered"}, []string{"copied"}, []string{"removed"}, nil)
	}
	for n, points := range rotations {
		next := withNextKey(t, folder, "abcdefgh"[n:n+1])
		for _, point := range points {
			if status, out, complaints := chassistest.Run(t, []string{"rotate-key", "--reason", "yearly"}, append(env, "OFITEC_TEST_KILL_AT="+point)...); status != -1 {
				t.Fatalf("it was not killed at %q: %d\n%s\n%s", point, status, out, complaints)
			}
		}
		var told rotated
		if err := json.Unmarshal([]byte(must(t, 0, env, "rotate-key", "--reason", "yearly", "--actor", "operator:ana", "-o", "json")), &told); err != nil {
			t.Fatal(err)
		}
		if told.To != next.Version() || told.Left != "" {
			t.Errorf("killed at %q it says %+v", points, told)
		}
		mustBeBy(t, folder, next)
		if _, err := os.Stat(filepath.Join(folder, "token.key") + token.NextSuffix); err == nil || sealerOf(t, filepath.Join(folder, "token.key")).Version() != next.Version() {
			t.Errorf("killed at %q: the next key is not in the place of the one before", points)
		}
	}
	// What was rotated equals a fresh warehouse by the last key, and each rotation was recorded once.
	var v verified
	if err := json.Unmarshal([]byte(must(t, 0, env, "verify", "--rebuild", "-o", "json")), &v); err != nil {
		t.Fatal(err)
	}
	if v.Made.Sequence > int64(4+len(rotations)) || v.Against == nil || !v.Against.Compare || len(v.Against.Differ) > 0 {
		t.Errorf("it is of record %d, want no more than %d, compared: %+v", v.Made.Sequence, 4+len(rotations), v.Against)
	}
}

func TestARotationLeavesAFileThatSomebodyIsMakingAlone(t *testing.T) {
	c := NewConfig()
	c.Warehouse = t.TempDir()
	left, making := c.file()+".building", c.file()+".verifying" // a verification beside a service reads its copy, and so lets a rotation go on
	db := openDuck(t, c, left, false)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), "OFITEC_TEST_HOLD="+making)
	said, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "held <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	removed, err := c.removeOthers(t.Context(), "the next")
	if err != nil || len(removed) != 1 || removed[0] != left {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Stat(making); err != nil {
		t.Errorf("the file that somebody is making: %v", err)
	}
}

func TestTheServiceAndACommandThatBothPutTheNewFileInPlaceDoItOnce(t *testing.T) {
	for range 5 {
		c := NewConfig()
		c.Warehouse = t.TempDir()
		for _, path := range []string{c.file(), c.next()} {
			if err := os.WriteFile(path, []byte(path), 0o600); err != nil { // the first is damaged, for that matter
				t.Fatal(err)
			}
		}
		var working sync.WaitGroup
		var errs [4]error
		for n := range errs {
			working.Go(func() { _, errs[n] = c.adopt(t.Context()) })
		}
		working.Wait()
		content, err := os.ReadFile(c.file())
		if err := errors.Join(append(errs[:], err)...); err != nil || string(content) != c.next() {
			t.Fatalf("%q is in place, %v", content, err)
		}
		if aside, _ := filepath.Glob(c.file() + ".[0-9]*"); len(aside) != 1 {
			t.Fatalf("put aside: %v", aside)
		}
	}
}
