package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What the ingest is held to: the project's targets.
const (
	ingestRatio  = 0.70      // of the rate at which curl reads the same export to a file
	ingestMemory = 100 << 20 // bytes at most, whatever the size of the export
)

// ingestContest measures etl-ingest against curl: the same export from the same server, by turns.
type ingestContest struct {
	folder  string
	service string // the binary
	export  *export
	url     string
	nats    string
}

// round is what both sides took.
type round struct {
	curl, ingest time.Duration
	others       [2]float64    // processors that the rest of the machine took during curl, and during the ingest
	cpu          time.Duration // of the ingest, over all processors
	memory       int64         // peak of the ingest
	kept         int64         // bytes of the raw files
}

func (r round) ratio() float64 { return r.curl.Seconds() / r.ingest.Seconds() }

// ingest prints the comparison; the result is false when a target is missed.
func ingest(ctx context.Context, out io.Writer, size int64, rounds int, stored bool) (met bool, err error) {
	folder, err := os.MkdirTemp("", "ofitec-bench-ingest-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is in the system's folder for that
	c := &ingestContest{folder: folder, service: filepath.Join(folder, "etl-ingest")}
	build := exec.CommandContext(ctx, "go", "build", "-o", c.service, ".")
	build.Dir = "../services/etl-ingest"
	if output, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("build etl-ingest: %w\n%s", err, output)
	}
	path, kind := "", "made as they are asked for"
	if stored {
		path, kind = filepath.Join(folder, "export.csv"), "kept in a file"
	}
	if c.export, err = newExport(path, size); err != nil {
		return false, err
	}
	defer c.export.close()
	stop, err := c.serve(ctx)
	if err != nil {
		return false, err
	}
	defer stop()
	_, _ = fmt.Fprintf(out, "export: %d rows x 12 columns, %d MiB of CSV, %s; curl reads it in one piece to a file, etl-ingest --once in pages of 100000 rows to raw files, each made durable, recorded and announced\n", c.export.rows, c.export.size>>20, kind)
	var done []round
	for n := range rounds {
		r, err := c.round(ctx, n)
		if err != nil {
			return false, err
		}
		done = append(done, r)
		_, _ = fmt.Fprintf(out, "round %d: curl %.2f s (%.0f MB/s), etl-ingest %.2f s (%.0f MB/s, %.2f s of processor), ratio %.2f, peak memory %d MiB, raw files %d MiB; the rest of the machine took %.1f and %.1f processors meanwhile\n", n+1, r.curl.Seconds(), c.rate(r.curl), r.ingest.Seconds(), c.rate(r.ingest), r.cpu.Seconds(), r.ratio(), r.memory>>20, r.kept>>20, r.others[0], r.others[1])
	}
	slices.SortFunc(done, func(a, b round) int { return int((a.ratio() - b.ratio()) * 1e6) })
	median, memory := done[len(done)/2].ratio(), int64(0)
	for _, r := range done {
		memory = max(memory, r.memory)
	}
	_, _ = fmt.Fprintf(out, "ingest: median ratio to curl %.2f (%.2f to %.2f, target %.2f), peak memory %d MiB (target below %d)\n", median, done[0].ratio(), done[len(done)-1].ratio(), ingestRatio, memory>>20, ingestMemory>>20)
	return median >= ingestRatio && memory < ingestMemory, nil
}

func (c *ingestContest) rate(took time.Duration) float64 {
	return float64(c.export.size) / 1e6 / took.Seconds()
}

// serve starts the export and a NATS server.
func (c *ingestContest) serve(ctx context.Context) (stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web := &http.Server{Handler: c.export, ReadHeaderTimeout: time.Minute}
	go func() { _ = web.Serve(listener) }() // ends with Close
	c.url = "http://" + listener.Addr().String()
	bus, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(c.folder, "nats"), NoSigs: true})
	if err != nil {
		return nil, errors.Join(err, web.Close())
	}
	bus.Start()
	if !bus.ReadyForConnections(10 * time.Second) {
		return nil, errors.Join(errors.New("the NATS server does not start"), web.Close())
	}
	c.nats = bus.ClientURL()
	return func() {
		_ = web.Close() // nothing is asked for any more
		bus.Shutdown()
	}, nil
}

// round lets both read once, in turns of order.
func (c *ingestContest) round(ctx context.Context, n int) (r round, err error) {
	sides := []func(context.Context, *round, int) error{c.curl, c.pull}
	if n%2 == 1 {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		syscall.Sync() // what the other one has written is not this one's burden
		if err := side(ctx, &r, n); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (c *ingestContest) curl(ctx context.Context, r *round, _ int) error {
	to := filepath.Join(c.folder, "curl.csv")
	defer func() { _ = os.Remove(to) }() // the folder goes, too
	command := exec.CommandContext(ctx, "curl", "-sS", "--fail", "-o", to, c.url+"/of/export/invoice?format=csv")
	rest := othersFrom(time.Now())
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("curl: %w: %s", err, output)
	}
	r.curl, r.others[0] = rest(command.ProcessState)
	info, err := os.Stat(to)
	if err == nil && info.Size() != c.export.size {
		err = fmt.Errorf("curl has %d bytes of %d", info.Size(), c.export.size)
	}
	return err
}

// pulled finds what etl-ingest says in the end.
var pulled = regexp.MustCompile(`0 failed: (\d+) rows read, (\d+) rows in \d+ new raw files`)

func (c *ingestContest) pull(ctx context.Context, r *round, n int) error {
	warehouse := filepath.Join(c.folder, "warehouse"+strconv.Itoa(n))
	defer func() { _ = os.RemoveAll(warehouse) }() // the folder goes, too
	command := exec.CommandContext(ctx, c.service, "--once")
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "NATS_URL=" + c.nats, "OFITEC_ODOO_URL=" + c.url, "OFITEC_WAREHOUSE=" + warehouse, "OFITEC_EXPORT_PAGE_ROWS=100000", "OFITEC_CURSOR_BUCKET=BENCH" + strconv.Itoa(n),
		"OFITEC_LOG_LEVEL=warn",
	}
	rest := othersFrom(time.Now())
	output, err := command.CombinedOutput()
	r.ingest, r.others[1] = rest(command.ProcessState)
	if err != nil {
		return fmt.Errorf("etl-ingest: %w\n%s", err, output)
	}
	want := strconv.FormatInt(c.export.rows, 10)
	if said := pulled.FindSubmatch(output); said == nil || string(said[1]) != want || string(said[2]) != want {
		return fmt.Errorf("etl-ingest has not kept %s rows:\n%s", want, output)
	}
	r.cpu = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = usage.Maxrss << 10
	}
	return filepath.WalkDir(filepath.Join(warehouse, "raw", "invoice"), func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			r.kept += info.Size()
		}
		return err
	})
}

// export is a server of rows that are each as long as the others: made as they are asked for, as every export makes them, or kept in a file, which costs as little as one can.
type export struct {
	file       *os.File // nil: rows are made
	rows, size int64
}

const exportHeader = "invoice_id,project_id,partner_id,move_type,date,due_date,amount_total,amount_tax,retention_amount,currency,state,write_date\r\n"

// firstID gives all ids the same number of digits, and rowWidth is what makeRow adds.
const (
	firstID  = 10_000_000
	rowWidth = 130
)

var exportBegin = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// rowGap is between two write_dates; the look-back of an hour is a small part of the whole.
const rowGap = 10 * time.Second

// makeRow adds the row of a number. Amounts and ids are spread as hashes are, so that they compress no better than those of a company.
func makeRow(b []byte, n int64) []byte {
	at := exportBegin.Add(time.Duration(n) * rowGap)
	mixed := int64(uint64(n) * 0x9E3779B97F4A7C15 >> 20)
	b = strconv.AppendInt(b, firstID+n, 10)
	b = strconv.AppendInt(append(b, ','), 1000+mixed%9000, 10)
	b = strconv.AppendInt(append(b, ','), 10000+mixed/7%90000, 10)
	b = append(b, ",out_invoice,"...)
	b = at.AppendFormat(b, time.DateOnly)
	b = at.AddDate(0, 0, 30).AppendFormat(append(b, ','), time.DateOnly)
	b = strconv.AppendInt(append(b, ','), 100_000_000+mixed%900_000_000, 10)
	b = strconv.AppendInt(append(b, ".00,"...), 10_000_000+mixed/3%90_000_000, 10)
	b = strconv.AppendInt(append(b, ".00,"...), 1_000_000+mixed/11%9_000_000, 10)
	b = append(b, ".50,CLP,posted,"...)
	b = at.AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	return append(b, "\r\n"...)
}

// newExport makes an export of a size; path is a file to keep it in, or empty.
func newExport(path string, size int64) (*export, error) {
	if got := len(makeRow(nil, 0)); got != rowWidth {
		return nil, fmt.Errorf("a row has %d bytes, not %d", got, rowWidth)
	}
	head := int64(len(exportHeader))
	e := &export{rows: (size - head) / rowWidth}
	e.size = head + e.rows*rowWidth
	if path == "" {
		return e, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := makeRows(file, 0, e.rows); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	e.file = file
	return e, nil
}

// makeRows writes rows by number.
func makeRows(to io.Writer, begin, end int64) error {
	buffer := make([]byte, 0, 64<<10)
	for n := begin; n < end; n++ {
		buffer = makeRow(buffer, n)
		if len(buffer) > cap(buffer)-rowWidth || n == end-1 {
			if _, err := to.Write(buffer); err != nil {
				return err
			}
			buffer = buffer[:0]
		}
	}
	return nil
}

func (e *export) close() {
	if e.file != nil {
		_ = e.file.Close() // it was only read
	}
}

// ServeHTTP implements http.Handler. Lists of ids and summaries are not offered: what is measured is the reading of rows.
func (e *export) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/of/export/invoice" {
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	begin, end := int64(0), e.rows
	if id, err := strconv.ParseInt(q.Get("after_id"), 10, 64); err == nil {
		begin = id - firstID + 1
	}
	if limit, err := strconv.ParseInt(q.Get("limit"), 10, 64); err == nil {
		end = min(end, begin+limit)
	}
	w.Header().Set("X-Ofitec-Source-Clock", exportBegin.Add(time.Duration(e.rows+1)*rowGap).Format("2006-01-02T15:04:05.000000Z"))
	w.Header().Set("X-Ofitec-More", strconv.FormatBool(end < e.rows))
	w.Header().Set("Content-Length", strconv.FormatInt(int64(len(exportHeader))+(end-begin)*rowWidth, 10))
	_, _ = io.WriteString(w, exportHeader) // who has gone away does not need the rest
	if e.file != nil {
		_, _ = io.Copy(w, io.NewSectionReader(e.file, begin*rowWidth, (end-begin)*rowWidth))
		return
	}
	_ = makeRows(w, begin, end)
}
