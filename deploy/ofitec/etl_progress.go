package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/ofitec/ofitec/events"
)

// etlProgress is what the facts have told of one run. It reads no clock and asks nobody.
type etlProgress struct {
	correlation string
	exported    bool // ingest has answered the command; no more files of the run come

	datasets  map[string]*etlDataset
	waiting   map[string]map[events.Region]int64 // files of the run by event id: the load that brought them in, by region; 0 while not in
	loads     map[events.Region]map[string]int64 // by event id, of files that are not known to be of the run yet
	published map[events.Region]int64
	failed    map[string]string
	rejected  []string
}

// etlDataset is one dataset of a run.
type etlDataset struct {
	Files int   `json:"files"`
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

func newETLProgress(correlation string) *etlProgress {
	return &etlProgress{
		correlation: correlation, datasets: map[string]*etlDataset{}, waiting: map[string]map[events.Region]int64{}, loads: map[events.Region]map[string]int64{},
		published: map[events.Region]int64{}, failed: map[string]string{},
	}
}

// observe takes a fact into account and gives what people should read of it. A fact that cannot be read is passed over.
func (p *etlProgress) observe(event events.Event) []string {
	payload, err := event.Payload()
	if err != nil {
		return nil
	}
	switch fact := payload.(type) {
	case events.ExportReady:
		return p.ready(event, fact)
	case events.ExportFailed:
		if event.CorrelationID == p.correlation {
			p.failed[fact.Dataset] = fact.Reason
			return []string{fmt.Sprintf("%s was not exported: %s", fact.Dataset, fact.Reason)}
		}
	case events.WarehouseLoaded:
		return p.loaded(fact)
	case events.WarehousePublished:
		p.published[fact.Region] = max(p.published[fact.Region], fact.Load.Load)
		if p.ended() && len(p.waiting) > 0 {
			return []string{fmt.Sprintf("published load %d in region %s, %d marts in %.2f s", fact.Load.Load, fact.Region, len(fact.Marts), fact.Seconds)}
		}
	case events.WarehouseRejected:
		line := fmt.Sprintf("%s is held back in region %s: %s", fact.Mart, fact.Region, fact.Reason)
		p.rejected = append(p.rejected, line)
		return []string{line}
	}
	return nil
}

func (p *etlProgress) ready(event events.Event, fact events.ExportReady) []string {
	if event.CorrelationID != p.correlation {
		return nil
	}
	if p.waiting[event.ID] != nil {
		return nil // told twice
	}
	p.waiting[event.ID] = map[events.Region]int64{}
	for region, loads := range p.loads {
		if load := loads[event.ID]; load != 0 {
			p.waiting[event.ID][region] = load
		}
	}
	d := p.datasets[fact.Dataset]
	if d == nil {
		d = &etlDataset{}
		p.datasets[fact.Dataset] = d
	}
	d.Files++
	d.Rows += fact.Rows
	d.Bytes += fact.Bytes
	if fact.Rows == 0 {
		return nil
	}
	return []string{fmt.Sprintf("exported %s: %d rows", fact.Dataset, fact.Rows)}
}

func (p *etlProgress) loaded(fact events.WarehouseLoaded) []string {
	mine := 0
	for _, id := range fact.Batches {
		if p.loads[fact.Region] == nil {
			p.loads[fact.Region] = map[string]int64{}
		}
		p.loads[fact.Region][id] = fact.Load.Load
		if p.waiting[id] != nil {
			p.waiting[id][fact.Region] = fact.Load.Load
			mine++
		}
	}
	if mine == 0 {
		return nil
	}
	return []string{fmt.Sprintf("loaded %d files in region %s as load %d: %d rows read, %d keys touched", len(fact.Batches), fact.Region, fact.Load.Load, fact.Read.Rows, fact.Written.Rows)}
}

// ended says that all files of the run are in and readers of one region see them. A run without new files ends with the answer to the command.
func (p *etlProgress) ended() bool {
	if !p.exported {
		return false
	}
	return len(p.waiting) == 0 || p.shownIn() != ""
}

// shownIn is a region whose readers see all files of the run.
func (p *etlProgress) shownIn() events.Region {
	for _, region := range events.DataRegions {
		all := true
		for _, loads := range p.waiting {
			all = all && loads[region] != 0 && loads[region] <= p.published[region]
		}
		if all && p.published[region] != 0 {
			return region
		}
	}
	return ""
}

// waitsFor says what has not happened yet.
func (p *etlProgress) waitsFor() string {
	if !p.exported {
		return fmt.Sprintf("etl-ingest of the active region has not finished the command (%d files so far)", len(p.waiting))
	}
	loaded := 0
	for _, loads := range p.waiting {
		if len(loads) > 0 {
			loaded++
		}
	}
	if loaded < len(p.waiting) {
		return fmt.Sprintf("%d of %d files are in a warehouse (ofitec etl status)", loaded, len(p.waiting))
	}
	return "all files are in, but the marts are not published (ofitec etl status)"
}

// etlResult is the run for -o json.
type etlResult struct {
	Request   string                 `json:"request"`
	Datasets  map[string]*etlDataset `json:"datasets"`
	Failed    map[string]string      `json:"failed"`
	Rejected  []string               `json:"rejected"`
	Region    events.Region          `json:"region"` // whose readers see it
	Published int64                  `json:"published_load"`
	Error     string                 `json:"error,omitempty"`
}

func (p *etlProgress) result(request string, err error) etlResult {
	r := etlResult{Request: request, Datasets: p.datasets, Failed: p.failed, Rejected: p.rejected, Region: p.shownIn()}
	r.Published = p.published[r.Region]
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// print writes what was new in the run.
func (p *etlProgress) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "DATASET\tNEW ROWS\tFILES\tBYTES")
	var total etlDataset
	for _, dataset := range slices.Sorted(maps.Keys(p.datasets)) {
		d := p.datasets[dataset]
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\n", dataset, d.Rows, d.Files, d.Bytes)
		total.Rows, total.Files, total.Bytes = total.Rows+d.Rows, total.Files+d.Files, total.Bytes+d.Bytes
	}
	for _, dataset := range slices.Sorted(maps.Keys(p.failed)) {
		_, _ = fmt.Fprintf(table, "%s\tFAILED\t\t%s\n", dataset, p.failed[dataset])
	}
	_, _ = fmt.Fprintf(table, "total\t%d\t%d\t%d\n", total.Rows, total.Files, total.Bytes)
	_ = table.Flush() // the command's own output
}
