package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/models"
)

// colour is a running stand-in.
type colour struct {
	t          *testing.T
	name, base string
	stop       func()
}

// startColour runs one colour behind two doors. Later lines win over the ordinary ones.
func startColour(t *testing.T, name string, write, read *door, lines ...string) *colour {
	t.Helper()
	port := freePort(t)
	env := append([]string{
		"POSTGRES_HOST=127.0.0.1", fmt.Sprintf("POSTGRES_PORT=%d", write.port()), fmt.Sprintf("POSTGRES_READ_PORT=%d", read.port()),
		"POSTGRES_USER=odoo_bootstrap", "POSTGRES_PASSWORD=unused", "POSTGRES_DB=ofitec_prod", "POSTGRES_SSLMODE=disable",
		"ODOO_COLOUR=" + name, "ODOO_REGION=a", fmt.Sprintf("ODOO_ADDR=127.0.0.1:%d", port),
		"ODOO_SEED_DATE=2026-01-15", "ODOO_WRITER=off", "ODOO_DATABASE_POLL=50ms", "ODOO_SELF_TRAFFIC=50ms", "ODOO_LOG_LEVEL=warn",
	}, lines...)
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(strings.Join(env, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, s, slog.New(slog.NewTextHandler(t.Output(), nil))) }()
	stopped := false
	c := &colour{t: t, name: name, base: "http://" + s.Addr, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s stopped with %v", name, err)
		}
	}}
	t.Cleanup(func() { c.stop() })
	return c
}

// answer is a response without its body, which has been read.
type answer struct {
	StatusCode int
	Header     http.Header
}

func (c *colour) do(method, path, body string, header ...string) (answer, string) {
	c.t.Helper()
	request, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return answer{Header: http.Header{}}, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header}, string(text)
}

func (c *colour) get(path string) (answer, string) {
	c.t.Helper()
	return c.do("GET", path, "")
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it did not happen that %s", what)
}

func (c *colour) prepared() {
	c.t.Helper()
	eventually(c.t, "the database is prepared", func() bool { r, _ := c.get("/of/export/partner/summary"); return r.StatusCode == 200 })
}

// walk reads all pages of a dataset from a place on.
func (c *colour) walk(dataset, since, afterID string, limit int) []map[string]any {
	c.t.Helper()
	var rows []map[string]any
	for {
		q := url.Values{"format": {"json"}, "limit": {fmt.Sprint(limit)}}
		if since != "" {
			q.Set("since", since)
		}
		if afterID != "" {
			q.Set("after_id", afterID)
		}
		r, body := c.get("/of/export/" + dataset + "?" + q.Encode())
		if r.StatusCode != 200 {
			c.t.Fatalf("page of %s: %d %s", dataset, r.StatusCode, body)
		}
		lines := bufio.NewScanner(strings.NewReader(body))
		for lines.Scan() {
			decoder := json.NewDecoder(strings.NewReader(lines.Text()))
			decoder.UseNumber()
			row := map[string]any{}
			if err := decoder.Decode(&row); err != nil {
				c.t.Fatalf("%s: %v", lines.Text(), err)
			}
			rows = append(rows, row)
		}
		since, afterID = r.Header.Get("X-Ofitec-Next-Since"), r.Header.Get("X-Ofitec-Next-After-Id")
		if r.Header.Get("X-Ofitec-More") == "false" {
			return rows
		}
	}
}

func TestTheExportOffersEveryDatasetOfTheModels(t *testing.T) {
	primary := startPrimary(t)
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	c := startColour(t, "blue", write, read)
	c.prepared()
	m, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Datasets() {
		t.Run(d.Name, func(t *testing.T) { checkDataset(t, c, d) })
	}

	t.Run("pages meet rows that share a microsecond exactly once", func(t *testing.T) {
		rows := c.walk("budget_line", "", "", 7)
		seen := map[string]bool{}
		last := ""
		for _, row := range rows {
			id, moment := row["budget_line_id"].(json.Number).String(), row["write_date"].(string)
			if seen[id] || moment < last {
				t.Fatalf("row %s at %s came twice or out of order", id, moment)
			}
			seen[id], last = true, moment
		}
		if _, body := c.get("/of/export/budget_line/summary"); !strings.Contains(body, fmt.Sprintf(`"count":%d,`, len(rows))) {
			t.Errorf("%d rows walked, summary is %s", len(rows), body)
		}
	})
	t.Run("without after_id the boundary itself is read again", func(t *testing.T) {
		rows := c.walk("invoice", "", "", 1000)
		boundary := rows[len(rows)-1]["write_date"].(string)
		if again := c.walk("invoice", boundary, "", 10); len(again) == 0 || again[0]["write_date"] != boundary {
			t.Errorf("since the boundary: %v", again)
		}
		if none := c.walk("invoice", boundary, rows[len(rows)-1]["invoice_id"].(json.Number).String(), 10); len(none) != 0 {
			t.Errorf("after the last row: %v", none)
		}
	})
	t.Run("rows without a write_date come first and are counted", func(t *testing.T) {
		primary.scan("UPDATE cash_balance SET write_date = NULL WHERE balance_id IN (5, 6) RETURNING 1", new(int))
		rows := c.walk("cash_balance", "", "", 1)
		if rows[0]["write_date"] != nil || rows[1]["write_date"] != nil || rows[2]["write_date"] == nil || len(rows) < 60 {
			t.Errorf("the walk begins %v", rows[:3])
		}
		if _, body := c.get("/of/export/cash_balance/summary?from=2020-01-01"); !strings.Contains(body, `"without_write_date":2`) {
			t.Errorf("summary is %s", body)
		}
	})
	t.Run("named rows can be read by their ids", func(t *testing.T) {
		r, body := c.get("/of/export/project?format=json&ids=3,1,99999")
		if r.Header.Get("X-Ofitec-Rows") != "2" || strings.Count(body, "\n") != 2 {
			t.Errorf("%v %s", r.Header, body)
		}
	})
	t.Run("gzip is spoken when asked for", func(t *testing.T) {
		_, plain := c.get("/of/export/partner")
		r, packed := c.do("GET", "/of/export/partner", "", "Accept-Encoding", "br, gzip")
		z, err := gzip.NewReader(strings.NewReader(packed))
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v, header %v", err, r.Header)
		}
		if text, _ := io.ReadAll(z); string(text) != plain {
			t.Error("the packed page differs")
		}
		if r, _ := c.do("GET", "/of/export/partner", "", "Accept-Encoding", "gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
			t.Error("gzip was sent to one who refuses it")
		}
	})
	t.Run("a wrong request is told by its parameter", func(t *testing.T) { checkRefusals(t, c) })
}

func checkDataset(t *testing.T, c *colour, d models.Dataset) {
	r, body := c.get("/of/export/" + d.Name + "?limit=100000")
	records, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%d %v %.200s", r.StatusCode, err, body)
	}
	if strings.Join(records[0], " ") != strings.Join(d.Names(), " ") || !strings.Contains(body, "\r\n") {
		t.Errorf("header is %v, want %v", records[0], d.Names())
	}
	if len(records) < 3 || r.Header.Get("X-Ofitec-Rows") != fmt.Sprint(len(records)-1) {
		t.Errorf("%d records, header %v", len(records), r.Header)
	}
	rows := c.walk(d.Name, "", "", 100000)
	key, cursor := 0, len(d.Columns)-1
	sum := new(big.Int)
	for i, record := range records[1:] {
		for j, name := range records[0] {
			if v := rows[i][name]; v == nil && record[j] != "" || v != nil && fmt.Sprint(v) != record[j] {
				t.Fatalf("row %d, %s: csv %q, json %v", i, name, record[j], v)
			}
		}
		hash := md5.Sum([]byte(record[key] + "|" + record[cursor]))
		sum.Add(sum, new(big.Int).SetBytes(hash[:]))
	}
	sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 128))
	if _, summary := c.get("/of/export/" + d.Name + "/summary"); !strings.Contains(summary, fmt.Sprintf(`"digest":"%032x"`, sum)) {
		t.Errorf("digest of the rows is %032x, summary says %s", sum, summary)
	}
	if _, ids := c.get("/of/export/" + d.Name + "/ids?format=json"); strings.Count(ids, "\n") != len(rows) || !strings.HasPrefix(ids, `{"`+d.Key+`":1}`) {
		t.Errorf("ids are %.100s", ids)
	}
	clock := r.Header.Get("X-Ofitec-Source-Clock")
	if moment, err := time.Parse("2006-01-02T15:04:05.000000Z", clock); err != nil || time.Since(moment).Abs() > time.Minute {
		t.Errorf("the source's clock is %q", clock)
	}
}

func checkRefusals(t *testing.T, c *colour) {
	for path, want := range map[string]string{
		"/of/export/invoice?limit=0":                                            "400 limit",
		"/of/export/invoice?limit=100001":                                       "400 limit",
		"/of/export/invoice?since=yesterday":                                    "400 since",
		"/of/export/invoice?after_id=x":                                         "400 after_id",
		"/of/export/invoice?format=xml":                                         "400 format",
		"/of/export/invoice?ids=1,b":                                            "400 ids",
		"/of/export/invoice?ids=1&since=2026-01-01":                             "400 ids",
		"/of/export/invoice/ids?format=xml":                                     "400 format",
		"/of/export/invoice/summary?from=x":                                     "400 from",
		"/of/export/invoice/summary?from=2026-01-02&to=2026-01-01":              "400 to",
		"/of/export/odoo_seed":                                                  "404 dataset",
		"/of/export/invoice%3B/summary":                                         "404 dataset",
		"/of/ledger":                                                            "400 writer",
		"/of/export/invoice?since=2026-01-01T00:00:00+00:00&limit=1":            "200 ",
		"/of/export/invoice?since=2026-01-01%2000:00:00&limit=1":                "200 ",
		"/of/export/invoice?since=2026-01-01T00:00:00.123456Z&limit=1&after_id": "200 ",
	} {
		r, body := c.get(path)
		var problem struct{ Parameter string }
		_ = json.Unmarshal([]byte(body), &problem)
		if got := fmt.Sprintf("%d %s", r.StatusCode, problem.Parameter); got != want {
			t.Errorf("%s: %s, want %s\n%.200s", path, got, want, body)
		}
	}
}

func TestTheExportAsksForItsToken(t *testing.T) {
	primary := startPrimary(t)
	write, read := newDoor(t), newDoor(t)
	write.open(primary)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startColour(t, "blue", write, read, "ODOO_EXPORT_TOKEN_FILE="+token, "ODOO_MASTER_PASSWORD=m4ster")
	eventually(t, "the export answers", func() bool {
		r, _ := c.do("GET", "/of/export/partner", "", "Authorization", "Bearer s3cret")
		return r.StatusCode == 200
	})
	for _, header := range []string{"", "Bearer wrong", "Basic s3cret", "s3cret"} {
		for _, path := range []string{"/of/export/partner", "/of/export/partner/ids", "/of/export/partner/summary", "/of/export/nothing"} {
			if r, body := c.do("GET", path, "", "Authorization", header); r.StatusCode != 401 || strings.Contains(body, "s3cret") {
				t.Errorf("%s with %q answers %d %s", path, header, r.StatusCode, body)
			}
		}
	}
	if r, _ := c.get("/web/health"); r.StatusCode != 200 {
		t.Errorf("health asks for the token: %d", r.StatusCode)
	}
	const entry = `{"writer":"w1","seq":1}`
	for _, refused := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/of/ledger", entry, 403},
		{"GET", "/of/ledger?writer=w1", "", 403},
		{"POST", "/of/export/partner", "", 405},
		{"PUT", "/of/export/partner", "", 405},
		{"DELETE", "/of/export/partner", "", 405},
	} {
		if r, body := c.do(refused.method, refused.path, refused.body, "Authorization", "Bearer s3cret"); r.StatusCode != refused.want || strings.Contains(body, "s3cret") {
			t.Errorf("%s %s with the export's token answers %d %s, want %d", refused.method, refused.path, r.StatusCode, body, refused.want)
		}
	}
	if r, body := c.do("POST", "/of/ledger", entry); r.StatusCode/100 != 2 {
		t.Errorf("a write without the export's token answers %d %s", r.StatusCode, body)
	}
	const form = "application/x-www-form-urlencoded"
	if r, body := c.do("POST", "/web/database/backup", "master_pwd=m4ster&name=ofitec_prod", "Content-Type", form); r.StatusCode != 200 || !strings.Contains(body, `"db_name":"ofitec_prod"`) {
		t.Errorf("the database manager answers the master password with %d %s", r.StatusCode, body)
	}
	for _, wrong := range []string{"", "master_pwd=", "master_pwd=m4ste", "master_pwd=s3cret"} {
		if r, body := c.do("POST", "/web/database/backup?master_pwd=m4ster", wrong, "Content-Type", form); r.StatusCode != 403 || strings.Contains(body, "m4ster") {
			t.Errorf("the database manager answers %q with %d %s", wrong, r.StatusCode, body)
		}
	}
}
