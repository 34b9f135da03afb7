package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// acknowledged is a write that was answered with 200: it was committed, by the region that served it.
type acknowledged struct {
	Writer   string
	Seq      int64
	Sent     time.Time
	Received time.Time
	ServedBy layout.Region
	LSN      events.LSN // flushed right after the commit: the commit lies at or before it
	Timeline int64
}

// Workers at each region's door, one write after the other. A write that is not answered in time is given up, so that one that hangs does not hide that others pass.
const (
	writeWorkers = 2
	writePause   = 25 * time.Millisecond
	writeTimeout = time.Second
)

// writers write to the ledger through the doors of several regions, until they are stopped.
type writers struct {
	run    string // first part of the writers' names: one drill's entries are told from another's
	client *http.Client
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	acks   []acknowledged
	failed map[layout.Region]int // by door
}

// startWriters begins at the doors, each with a database session that is held open beside the requests where sessions says so.
func startWriters(ctx context.Context, run string, l layout.Layout, sessions bool, doors ...layout.Region) *writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &writers{
		run: run, cancel: cancel, failed: map[layout.Region]int{},
		client: &http.Client{Timeout: writeTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, door := range doors {
		address := "http://" + l.Addressing.Addr(door, layout.PortWebProxy) + "/of/ledger"
		if sessions {
			w.wait.Go(func() { w.session(ctx, l, door) })
		}
		seq := &atomic.Int64{}
		for range writeWorkers {
			w.wait.Go(func() {
				for ctx.Err() == nil {
					w.write(ctx, door, address, seq.Add(1))
					select {
					case <-ctx.Done():
					case <-time.After(writePause):
					}
				}
			})
		}
	}
	return w
}

// writer is the ledger's name for what goes through a door.
func (w *writers) writer(door layout.Region) string { return w.run + "-" + string(door) }

func (w *writers) write(ctx context.Context, door layout.Region, address string, seq int64) {
	a, err := w.post(ctx, address, w.writer(door), seq)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.acks = append(w.acks, a)
	case ctx.Err() == nil:
		w.failed[door]++
	}
}

func (w *writers) post(ctx context.Context, address, writer string, seq int64) (acknowledged, error) {
	a := acknowledged{Writer: writer, Seq: seq, Sent: time.Now()}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(fmt.Sprintf(`{"writer":%q,"seq":%d}`, writer, seq)))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return a, err
	}
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("the ledger answers %d: %.100s", response.StatusCode, body)
	}
	a.Received = time.Now()
	var receipt struct {
		ServedBy layout.Region `json:"served_by"`
		LSN      events.LSN    `json:"lsn"`
		Timeline int64         `json:"timeline"`
	}
	if err := json.Unmarshal(body, &receipt); err != nil {
		return a, fmt.Errorf("read receipt: %w", err)
	}
	a.ServedBy, a.LSN, a.Timeline = receipt.ServedBy, receipt.LSN, receipt.Timeline
	return a, nil
}

// seen is a copy of what was acknowledged so far.
func (w *writers) seen() []acknowledged {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]acknowledged(nil), w.acks...)
}

// servedBy counts what a region has acknowledged since a time.
func (w *writers) servedBy(r layout.Region, since time.Time) int {
	count := 0
	for _, a := range w.seen() {
		if a.ServedBy == r && a.Received.After(since) {
			count++
		}
	}
	return count
}

func (w *writers) stop() {
	w.cancel()
	w.wait.Wait()
}

// stored lists what the ledger has of a writer, asked at a port of a region: its door, or a colour, which reads its own region's database.
func stored(ctx context.Context, l layout.Layout, door layout.Region, port int, writer string) (map[int64]bool, error) {
	address := "http://" + l.Addressing.Addr(door, port) + "/of/ledger?writer=" + url.QueryEscape(writer)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("list ledger: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list ledger: %s answers %d", address, response.StatusCode)
	}
	if from := response.Header.Get("X-Ofitec-Region"); from != "" && from != string(door) {
		return nil, errors.New("list ledger: region " + from + " answered in place of " + string(door))
	}
	var entries []struct {
		Seq int64 `json:"seq"`
	}
	if err := json.NewDecoder(response.Body).Decode(&entries); err != nil {
		return nil, fmt.Errorf("list ledger: %w", err)
	}
	there := map[int64]bool{}
	for _, entry := range entries {
		there[entry.Seq] = true
	}
	return there, nil
}
