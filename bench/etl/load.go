package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the other side of the comparison
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events/bus"
)

// Targets of the load.
const (
	firstTarget  = 3.0 // times read_csv
	flatTarget   = 3.0 // times the same delta on a tenth of the base
	deltaTarget  = 1.0 // seconds
	reloadTarget = 30.0
	memoryTarget = 2.5 // GiB of the process: 2 for the engine, as configured, and what Go and the driver take beside it
	deltaRows    = 10_000
	fileRows     = 100_000 // of a raw file, as etl-ingest makes them
)

const invoiceHeader = "invoice_id,project_id,partner_id,move_type,date,due_date,amount_total,amount_tax,retention_amount,currency,state,write_date\n"

const invoiceTypes = `{'invoice_id':'BIGINT','project_id':'BIGINT','partner_id':'BIGINT','move_type':'VARCHAR','date':'DATE','due_date':'DATE','amount_total':'DECIMAL(18,2)','amount_tax':'DECIMAL(18,2)','retention_amount':'DECIMAL(18,2)','currency':'VARCHAR','state':'VARCHAR','write_date':'TIMESTAMPTZ'}`

// loading is a raw store that etl-transform loads from, and what it needs beside it.
type loading struct {
	folder, program, nats string
	js                    jetstream.JetStream
	sequence              int64
	previous              string
	peak                  int64 // KiB, of the largest process
}

// loaded is a base and a delta on it, and the most memory that a process had.
type loaded struct {
	rows         int
	base         []string // raw files
	first, delta took
	peak         int64
}

// took are the seconds of one load, as its log tells them.
type took struct {
	stages map[string]float64
	tables map[string]float64 // of the statements of the transaction, by the table that they fill
	marts  map[string]float64
	wall   float64 // of the whole process, with start, end and what of the engine's log is worked into the file then
	cpu    float64 // processor seconds of the whole process: what a busy machine does not change much
}

// stages are those of a load, in their order.
var stages = []string{"read", "type", "stage", "vault", "marts", "commit"}

func (t took) total() (sum float64) {
	for _, s := range t.stages {
		sum += s
	}
	return sum
}

// with is the time of the load if its marts were the one that is named.
func (t took) with(mart string) float64 { return t.total() - t.stages["marts"] + t.marts[mart] }

// load compares a first load with DuckDB's read_csv into one table, a delta with a full reload in SQL and with the same delta on a tenth of the base. One machine, one run: the ratios count.
func load(ctx context.Context, out io.Writer, rows int) (met bool, err error) {
	folder, err := os.MkdirTemp("", "bench-etl-load-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	program, err := build(ctx, folder)
	if err != nil {
		return false, err
	}
	small, err := measure(ctx, filepath.Join(folder, "small"), program, max(rows/10, 2*deltaRows))
	if err != nil {
		return false, err
	}
	large, err := measure(ctx, filepath.Join(folder, "large"), program, rows)
	if err != nil {
		return false, err
	}
	floor, reload, cpu, err := duck(ctx, folder, large.base)
	if err != nil {
		return false, err
	}
	for _, l := range []loaded{small, large} {
		report(out, "first load", l.rows, l.first)
		report(out, fmt.Sprintf("delta on %d", l.rows), deltaRows, l.delta)
	}
	_, _ = fmt.Fprintf(out, "read_csv with types into one table   %8.2f s, %.2f s of processor\nfull reload in SQL with a sales mart %8.2f s\n\n", floor.Seconds(), cpu, reload.Seconds())
	_, _ = fmt.Fprintf(out, "%-44s %7.2f\n", "processor, first load with all marts / read_csv", large.first.cpu/cpu)
	return judge(out, small, large, floor.Seconds(), reload.Seconds()), nil
}

// build makes etl-transform as it stands.
func build(ctx context.Context, folder string) (string, error) {
	program := filepath.Join(folder, "program")
	command := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	command.Dir = "../services/etl-transform"
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build etl-transform (run this in bench/): %w: %s", err, said)
	}
	return program, nil
}

// judge prints the ratios beside their targets; false when one is missed.
func judge(out io.Writer, small, large loaded, floor, reload float64) bool {
	met := true
	line := func(what string, value float64, good bool, target string) {
		met = met && good
		verdict := "met"
		if !good {
			verdict = "missed"
		}
		_, _ = fmt.Fprintf(out, "%-44s %7.2f (target %s: %s)\n", what, value, target, verdict)
	}
	first, delta := large.first.with("mart_fact_sales")/floor, large.delta.total()
	flat, times := delta/small.delta.total(), reload/large.delta.with("mart_fact_sales")
	memory := float64(max(small.peak, large.peak)) / (1 << 20)
	_, _ = fmt.Fprintf(out, "%-44s %7.2f\n%-44s %7.2f\n", "stage and vault without marts / read_csv", large.first.with("")/floor, "first load with all marts / read_csv", large.first.total()/floor)
	line("stage, vault and sales mart / read_csv", first, first < firstTarget, fmt.Sprintf("under %.0f", firstTarget))
	line(fmt.Sprintf("delta on %d / delta on %d, all marts", large.rows, small.rows), flat, flat < flatTarget, fmt.Sprintf("under %.0f", flatTarget))
	line("delta with all marts, seconds", delta, delta < deltaTarget, fmt.Sprintf("under %.0f", deltaTarget))
	// The reload makes the one mart, and so does the delta that it is compared with.
	line("full reload / delta, each with the sales mart", times, times >= reloadTarget, fmt.Sprintf("%.0f or more", reloadTarget))
	_, _ = fmt.Fprintf(out, "%-44s %7.2f\n", "full reload / delta with all marts", reload/delta)
	line("peak memory of the process, GiB", memory, memory < memoryTarget, fmt.Sprintf("under %.1f", memoryTarget))
	return met
}

// measure loads a base and then a delta that changes its last rows.
func measure(ctx context.Context, folder, program string, rows int) (loaded, error) {
	m := loaded{rows: rows}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return m, err
	}
	l := &loading{folder: folder, program: program}
	ns, err := l.bus(ctx)
	if err != nil {
		return m, err
	}
	defer ns.Shutdown()
	if err := os.WriteFile(filepath.Join(folder, "token.key"), []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		return m, err
	}
	for first := 1; first <= rows; first += fileRows {
		path, err := l.file(first, min(fileRows, rows-first+1), 1)
		if err != nil {
			return m, err
		}
		m.base = append(m.base, path)
	}
	if m.first, err = l.once(ctx); err != nil {
		return m, err
	}
	if _, err := l.file(rows-deltaRows+1, deltaRows, 2); err != nil {
		return m, err
	}
	m.delta, err = l.once(ctx)
	m.peak = l.peak
	return m, err
}

// report prints where the time went: stages, and of statements and marts what took a hundredth of it or more.
func report(out io.Writer, what string, rows int, t took) {
	_, _ = fmt.Fprintf(out, "%-18s %9d rows: %.2f s (%s); with the process's start and end %.2f s, %.2f s of processor\n", what, rows, t.total(), split(t.stages, stages), t.wall, t.cpu)
	for name, seconds := range map[string]map[string]float64{"tables": t.tables, "marts": t.marts} {
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(seconds)), func(n string) bool { return seconds[n] < t.total()/100 })
		slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(seconds[b], seconds[a]) })
		_, _ = fmt.Fprintf(out, "  %s: %s\n", name, split(seconds, names))
	}
}

func split(seconds map[string]float64, names []string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %.2f", name, seconds[name])
	}
	return strings.Join(parts, ", ")
}

func (l *loading) bus(ctx context.Context) (*server.Server, error) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: filepath.Join(l.folder, "nats"), NoLog: true, NoSigs: true})
	if err != nil {
		return nil, err
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("start NATS: it is not ready after 10 s")
	}
	l.nats = ns.ClientURL()
	conn, err := nats.Connect(l.nats)
	if err != nil {
		return nil, err
	}
	if l.js, err = jetstream.New(conn); err != nil {
		return nil, err
	}
	_, err = bus.Provision(ctx, l.js, bus.Setup{Replicas: 1})
	return ns, err
}

// file makes a raw file of invoices and its record in the manifest; its path.
func (l *loading) file(first, rows, edition int) (string, error) {
	root := filepath.Join(l.folder, "raw")
	unnamed := filepath.Join(root, "invoice", "new")
	if err := os.MkdirAll(filepath.Dir(unnamed), 0o700); err != nil {
		return "", err
	}
	file, err := os.Create(unnamed)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	to := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20)
	_, _ = to.WriteString(invoiceHeader)
	for i := first; i < first+rows; i++ {
		day := 1 + i%28
		_, _ = fmt.Fprintf(to, "%d,%d,%d,out_invoice,2026-%02d-%02d,2026-%02d-%02d,%d.%02d,%d.00,0.00,CLP,posted,2026-%02d-%02dT%02d:%02d:%02d.%06dZ\n",
			i, 1+i%200, 1+i%5000, 1+i%12, day, 1+i%12, day, 1000+i%90000+edition, i%100, 190+i%1000, 2+edition, day, i%24, i%60, i%60, i%1_000_000)
	}
	if err := to.Flush(); err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	path := filepath.Join(root, "invoice", hash+".csv")
	if err := os.Rename(unnamed, path); err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return path, l.record(root, hash, rows, info.Size())
}

func (l *loading) record(root, hash string, rows int, size int64) error {
	l.sequence++
	at := time.Date(2026, 12, 1, 0, 0, int(l.sequence), 0, time.UTC)
	body, err := json.Marshal(map[string]any{
		"version": 1, "sequence": l.sequence, "previous": l.previous, "kind": "rows", "dataset": "invoice", "region": "a", "batch": fmt.Sprintf("b%06d", l.sequence), "path": "invoice/" + hash + ".csv",
		"format": "csv", "sha256": hash, "rows": rows, "bytes": size, "asof": map[string]any{"epoch": 1, "source_clock": at}, "event_id": fmt.Sprintf("bench-%d", l.sequence), "event_time": at,
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	l.previous = hex.EncodeToString(sum[:])
	path := filepath.Join(root, "_manifest", "000000", fmt.Sprintf("%012d.json", l.sequence))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(string(body[:len(body)-1])+`,"hash":"`+l.previous+"\"}\n"), 0o600)
}

// command is etl-transform that loads what is in the manifest, and ends.
func (l *loading) command(ctx context.Context) *exec.Cmd {
	command := exec.CommandContext(ctx, l.program, "--once")
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "NATS_URL=" + l.nats, "OFITEC_WAREHOUSE=" + l.folder, "OFITEC_TOKEN_KEY_FILE=" + filepath.Join(l.folder, "token.key"), "OFITEC_BATCH_BYTES=1000000000000", "OFITEC_BATCH_FILES=10000", "OFITEC_LOG_LEVEL=debug"}
	return command
}

// once loads what is in the manifest, and gives what took how long.
func (l *loading) once(ctx context.Context) (took, error) {
	command := l.command(ctx)
	began := time.Now()
	said, err := command.CombinedOutput()
	wall := time.Since(began).Seconds()
	if err != nil {
		return took{}, fmt.Errorf("etl-transform --once: %w: %s", err, said)
	}
	if used, known := command.ProcessState.SysUsage().(*syscall.Rusage); known {
		l.peak = max(l.peak, used.Maxrss)
	}
	t, err := lookUp(said)
	t.wall = wall
	t.cpu = (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds()
	return t, err
}

// lookUp finds in the log of a load how long it took.
func lookUp(log []byte) (took, error) {
	t := took{marts: map[string]float64{}}
	for _, line := range bytes.Split(log, []byte("\n")) {
		var entry struct {
			Msg     string          `json:"msg"`
			Mart    string          `json:"mart"`
			Seconds json.RawMessage `json:"seconds"`
		}
		if json.Unmarshal(line, &entry) != nil {
			continue // what is said in the end is for people
		}
		var err error
		switch entry.Msg {
		case "load is in":
			err = json.Unmarshal(entry.Seconds, &t.stages)
		case "tables are filled":
			err = json.Unmarshal(entry.Seconds, &t.tables)
		case "mart is refreshed":
			var seconds float64
			err = json.Unmarshal(entry.Seconds, &seconds)
			t.marts[entry.Mart] += seconds
		}
		if err != nil {
			return t, fmt.Errorf("read log of etl-transform: %w: %s", err, line)
		}
	}
	if t.stages == nil {
		return t, fmt.Errorf("etl-transform has told of no load: %s", log)
	}
	return t, nil
}

// duck reads the same files with DuckDB alone into a persistent table, and does the best full reload in SQL. cpu are the processor seconds of the first.
func duck(ctx context.Context, folder string, paths []string) (floor, reload time.Duration, cpu float64, err error) {
	db, err := sql.Open("duckdb", filepath.Join(folder, "plain.duckdb"))
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = db.Close() }()
	read := "read_csv(['" + strings.Join(paths, "', '") + "'], header = true, columns = " + invoiceTypes + ")"
	timed := func(statements ...string) (time.Duration, error) {
		begin := time.Now()
		for _, statement := range statements {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return 0, fmt.Errorf("run %.60q: %w", statement, err)
			}
		}
		return time.Since(begin), nil
	}
	if _, err := timed("SET memory_limit = '2GiB'"); err != nil {
		return 0, 0, 0, err
	}
	before := used()
	if floor, err = timed("CREATE TABLE invoice AS SELECT * FROM "+read, "CHECKPOINT"); err != nil {
		return 0, 0, 0, err
	}
	cpu = used() - before
	mart := "SELECT date, project_id, partner_id, invoice_id, amount_total - coalesce(amount_tax, 0) AS amount_untaxed, amount_tax, amount_total FROM invoice WHERE state = 'posted' AND move_type IN ('out_invoice', 'out_refund')"
	if _, err := timed("CREATE TABLE mart AS " + mart); err != nil {
		return 0, 0, 0, err
	}
	reload, err = timed("BEGIN", "DELETE FROM invoice", "INSERT INTO invoice SELECT * FROM "+read, "DELETE FROM mart", "INSERT INTO mart "+mart, "COMMIT")
	return floor, reload, cpu, err
}

// used are the processor seconds of this process so far.
func used() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it fails for a wrong argument only
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
