package export

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
)

const (
	defaultLimit = 1000
	maxLimit     = 100_000
	maxIDs       = 1000
)

// Format is how rows are written.
type Format string

// The formats: RFC 4180 with a header line, and one JSON object a line.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// pageRequest is one page's place in the order of (write_date, key). A row without a write_date comes before all others.
type pageRequest struct {
	since   *time.Time
	afterID *int64
	limit   int
	format  Format
	// ids asks for these rows instead of a page.
	ids []int64
}

func parsePage(q url.Values) (pageRequest, error) {
	p := pageRequest{limit: defaultLimit}
	var err error
	if p.format, err = parseFormat(q); err != nil {
		return p, err
	}
	if p.since, err = parseMoment(q, "since"); err != nil {
		return p, err
	}
	if text := q.Get("after_id"); text != "" {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p, reply.Bad("after_id", "%q is not a whole number", text)
		}
		p.afterID = &id
	}
	if text := q.Get("limit"); text != "" {
		p.limit, err = strconv.Atoi(text)
		if err != nil || p.limit < 1 || p.limit > maxLimit {
			return p, reply.Bad("limit", "%q is not a whole number from 1 to %d", text, maxLimit)
		}
	}
	if q.Has("ids") {
		if q.Has("since") || q.Has("after_id") || q.Has("limit") {
			return p, reply.Bad("ids", "goes with format only, not with since, after_id or limit")
		}
		p.ids, err = parseIDs(q.Get("ids"))
	}
	return p, err
}

func parseIDs(text string) ([]int64, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxIDs {
		return nil, reply.Bad("ids", "has %d numbers, %d are allowed", len(parts), maxIDs)
	}
	ids := make([]int64, len(parts))
	for i, part := range parts {
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, reply.Bad("ids", "%q is not a list of whole numbers with commas", text)
		}
		ids[i] = id
	}
	return ids, nil
}

func parseFormat(q url.Values) (Format, error) {
	switch format := Format(q.Get("format")); format {
	case "":
		return CSV, nil
	case CSV, JSON:
		return format, nil
	default:
		return "", reply.Bad("format", "%q is not csv or json", string(format))
	}
}

// momentForms are what a moment may be written as; without a zone it is UTC, as Odoo has it.
var momentForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", time.DateOnly}

// parseMoment reads a moment, down to the microsecond: finer digits are cut off, which at worst reads a row again.
func parseMoment(q url.Values, parameter string) (*time.Time, error) {
	text := q.Get(parameter)
	if text == "" {
		return nil, nil
	}
	// A plus sign that nobody escaped arrives as a blank before the zone.
	if i := len(text) - len(" 00:00"); i > len(time.DateOnly) && text[i] == ' ' && strings.Count(text, ":") >= 3 {
		text = text[:i] + "+" + text[i+1:]
	}
	for _, form := range momentForms {
		if moment, err := time.Parse(form, text); err == nil {
			moment = moment.UTC().Truncate(time.Microsecond)
			return &moment, nil
		}
	}
	return nil, reply.Bad(parameter, "%q is not a moment, as 2026-11-24T04:30:00.123456Z", text)
}

func wantsGzip(r *http.Request) bool {
	for _, coding := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(parameter, " ", ""), "q=")
		quality, err := strconv.ParseFloat(weight, 64)
		return !found || err != nil || quality > 0
	}
	return false
}
