package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/models"
)

// How much is asked for: pages of smallPage rows, walkPages of them, against one page of all of those.
const (
	smallPage = 3
	walkPages = 4
)

// exportVisit examines one dataset.
type exportVisit struct {
	*exportDoctor
	dataset models.Dataset
	all     exportPage // the first rows, in one page
}

func (v *exportVisit) say(check, verdict, format string, args ...any) {
	v.remarks = append(v.remarks, exportRemark{Dataset: v.dataset.Name, Check: check, Verdict: verdict, Why: fmt.Sprintf(format, args...)})
}

// run examines. The error is why pages cannot be read at all.
func (v *exportVisit) run(ctx context.Context) error {
	var err error
	v.all, err = v.page(ctx, "csv", url.Values{"limit": {strconv.Itoa(smallPage * walkPages)}})
	switch {
	case err != nil:
		return err
	case v.all.status == http.StatusNotFound:
		v.say("pages", verdictSkipped, "the server does not offer it (404); etl-ingest skips it and says so")
		return nil
	case v.all.status != http.StatusOK:
		return fmt.Errorf("status %d %s", v.all.status, http.StatusText(v.all.status))
	}
	v.columns()
	v.clock()
	if len(v.all.rows) == 0 {
		v.say("pages", verdictOK, "there are no rows; order, since, after_id and limit cannot be seen")
	} else if err := v.pages(ctx); err != nil {
		return err
	}
	for _, check := range []func(context.Context) error{v.json, v.ids, v.summary, v.rights} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (v *exportVisit) columns() {
	var added, missing []string
	for _, name := range v.all.columns {
		if _, known := v.dataset.Column(name); !known {
			added = append(added, name)
		}
	}
	for _, name := range v.dataset.Names() {
		if len(v.all.columns) > 0 && !slices.Contains(v.all.columns, name) {
			missing = append(missing, name)
		}
	}
	switch {
	case len(added)+len(missing) == 0:
		v.say("columns", verdictOK, "those of the models")
	case v.dataset.Drift == models.Freeze:
		v.say("columns", verdictRefused, "the dataset is frozen; new: %s; missing: %s", strings.Join(added, ", "), strings.Join(missing, ", "))
	default:
		v.say("columns", verdictDegraded, "new, kept in the raw files and not loaded: %s; missing, loaded as NULL: %s", strings.Join(added, ", "), strings.Join(missing, ", "))
	}
}

// clockSkew is how far the server's clock may be from ours before it is said.
const clockSkew = 5 * time.Second

func (v *exportVisit) clock() {
	clock, err := time.Parse(time.RFC3339Nano, v.all.header.Get("X-Ofitec-Source-Clock"))
	if err == nil {
		if skew := clock.Sub(v.all.asked).Round(time.Millisecond); skew.Abs() > clockSkew {
			v.say("clock", verdictDegraded, "X-Ofitec-Source-Clock is %s away from this machine's clock; the cursor follows the server's", skew)
			return
		}
		v.say("clock", verdictOK, "X-Ofitec-Source-Clock")
		return
	}
	if v.all.header.Get("Date") != "" {
		v.say("clock", verdictDegraded, "no X-Ofitec-Source-Clock: Date less a second is taken")
		return
	}
	v.say("clock", verdictDegraded, "neither X-Ofitec-Source-Clock nor Date: the reader's own clock is taken")
}

// pages looks at order, limit, after_id and since.
func (v *exportVisit) pages(ctx context.Context) error {
	sorted, limited := v.all.sorted(), len(v.all.rows) <= smallPage*walkPages
	switch {
	case !sorted && limited && len(v.all.rows) == smallPage*walkPages:
		v.say("order", verdictRefused, "rows are not in the order of (%s, %s), and there may be more behind them: %s", v.dataset.Cursor, v.dataset.Key, list(v.all.rows))
	case !sorted:
		v.say("order", verdictDegraded, "rows are not in the order of (%s, %s): read while all fit into one page", v.dataset.Cursor, v.dataset.Key)
	default:
		v.say("order", verdictOK, "by (%s, %s)", v.dataset.Cursor, v.dataset.Key)
	}
	if !limited {
		v.say("limit", verdictDegraded, "asked for %d rows, %d came: what comes is taken for all there is", smallPage*walkPages, len(v.all.rows))
	} else {
		v.say("limit", verdictOK, "%d rows at most", smallPage*walkPages)
	}
	if err := v.afterID(ctx, limited); err != nil {
		return err
	}
	if err := v.since(ctx); err != nil {
		return err
	}
	v.say("pages", verdictOK, "%d rows looked at", len(v.all.rows))
	return nil
}

// afterID walks in small pages and compares with the one large page.
func (v *exportVisit) afterID(ctx context.Context, limited bool) error {
	if !limited || len(v.all.rows) < 2 {
		v.say("after_id", verdictSkipped, "there are not enough rows, or no limit, to see it by")
		return nil
	}
	var walked []exportRow
	query := url.Values{"limit": {strconv.Itoa(smallPage)}}
	for len(walked) < len(v.all.rows) {
		p, err := v.page(ctx, "csv", query)
		if err != nil {
			return err
		}
		if len(p.rows) == 0 {
			break
		}
		if len(walked) > 0 && p.rows[0].compare(walked[len(walked)-1]) <= 0 {
			return v.afterIDIgnored(p.rows[0], walked[len(walked)-1])
		}
		walked = append(walked, p.rows...)
		query = behind(p.last(), smallPage)
	}
	for n, row := range v.all.rows {
		if n >= len(walked) || walked[n] != row {
			v.say("after_id", verdictRefused, "pages of %d rows and one page of %d differ at row %d (%s): rows would be lost, or somebody writes just now: try again", smallPage, smallPage*walkPages, n+1, row)
			return nil
		}
	}
	v.say("after_id", verdictOK, "pages of %d rows give the same as one of %d", smallPage, smallPage*walkPages)
	return nil
}

// afterIDIgnored says what becomes of a server that gives rows again that were asked past.
func (v *exportVisit) afterIDIgnored(got, asked exportRow) error {
	if got.at.Equal(asked.at) {
		v.say("after_id", verdictDegraded, "it is ignored (asked behind %s, got %s): read while fewer rows than a page (OFITEC_EXPORT_PAGE_ROWS) share a write_date, else refused", asked, got)
		return nil
	}
	v.say("after_id", verdictDegraded, "it is ignored, and so is since (asked behind %s, got %s): read while all rows fit into one page, twice each time, else refused", asked, got)
	return nil
}

// since asks for the rows from the last row's write_date on: that row has to be among them.
func (v *exportVisit) since(ctx context.Context) error {
	last := slices.MaxFunc(v.all.rows, exportRow.compare)
	if last.at.IsZero() {
		v.say("since", verdictSkipped, "all rows that were looked at are without a write_date")
		return nil
	}
	p, err := v.page(ctx, "csv", from(last.at, 1000))
	if err != nil {
		return err
	}
	early := slices.IndexFunc(p.rows, func(r exportRow) bool { return r.at.Before(last.at) })
	switch {
	case !slices.Contains(p.rows, last):
		v.say("since", verdictRefused, "asked from %s on, the row of that very moment is not there: since has to be inclusive without after_id, or rows of one transaction are lost", last.at.Format(exportMoment))
	case early >= 0:
		v.say("since", verdictDegraded, "it is ignored (asked from %s on, got %s): all is read each time, while it fits into one page", last.at.Format(exportMoment), p.rows[early])
	default:
		v.say("since", verdictOK, "inclusive")
	}
	return nil
}

func (v *exportVisit) json(ctx context.Context) error {
	p, err := v.page(ctx, "json", url.Values{"limit": {strconv.Itoa(smallPage * walkPages)}})
	switch {
	case err != nil:
		v.say("json", verdictDegraded, "format=json cannot be read (%s): leave OFITEC_EXPORT_FORMAT at csv", err)
	case p.status != http.StatusOK:
		v.say("json", verdictDegraded, "format=json answers %d: leave OFITEC_EXPORT_FORMAT at csv", p.status)
	case !slices.Equal(p.rows, v.all.rows):
		v.say("json", verdictDegraded, "format=json gives other rows than format=csv, or somebody writes just now: leave OFITEC_EXPORT_FORMAT at csv")
	default:
		v.say("json", verdictOK, "the same rows as CSV")
	}
	return ctx.Err()
}

func (v *exportVisit) ids(ctx context.Context) error {
	response, body, err := v.get(ctx, http.MethodGet, v.dataset.Name+"/ids", url.Values{"format": {"csv"}}, v.token) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		v.say("ids", verdictDegraded, "answers %d: deletions are found by reading everything again, once a day by default", response.StatusCode)
		return nil
	}
	living := map[string]bool{}
	for _, word := range strings.FieldsFunc(string(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))), func(r rune) bool { return strings.ContainsRune(" \r\n\t,[]{}:\"", r) }) {
		if word != v.dataset.Key {
			living[word] = true
		}
	}
	for _, row := range v.all.rows {
		if !living[strconv.FormatInt(row.id, 10)] {
			v.say("ids", verdictRefused, "the export has %s, the list of ids has not: it would be taken for deleted", row)
			return nil
		}
	}
	said := response.Header.Get("X-Ofitec-Rows")
	switch {
	case said == "":
		v.say("ids", verdictDegraded, "%d ids without X-Ofitec-Rows: a list that lacks more than half of what is known is not taken for deletions", len(living))
	case said != strconv.Itoa(len(living)):
		v.say("ids", verdictRefused, "X-Ofitec-Rows says %.20q, the list has %d ids", said, len(living))
	default:
		v.say("ids", verdictOK, "%d ids", len(living))
	}
	return nil
}

// exportDigest is the algorithm of digests that etl-ingest knows.
const exportDigest = "sum128-md5-id-write_date"

// summary compares count and digest of the first rows with what the server says of their window.
func (v *exportVisit) summary(ctx context.Context) error {
	query, want := url.Values{}, []exportRow(nil)
	if len(v.all.rows) > 0 {
		// The window ends before the last row's moment, of which there may be more rows than were looked at.
		last := slices.MaxFunc(v.all.rows, exportRow.compare)
		query.Set("from", time.Unix(0, 0).UTC().Format(exportMoment))
		query.Set("to", last.at.Format(exportMoment))
		for _, row := range v.all.rows {
			if !row.at.IsZero() && row.at.Before(last.at) && row.at.Unix() >= 0 {
				want = append(want, row)
			}
		}
		if last.at.IsZero() {
			query = url.Values{}
		}
	}
	response, body, err := v.get(ctx, http.MethodGet, v.dataset.Name+"/summary", query, v.token) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		v.say("summary", verdictDegraded, "answers %d: windows are compared by reading everything again, once a day by default", response.StatusCode)
		return nil
	}
	var s struct {
		Count             *int64
		Digest, Algorithm string
	}
	if err := json.Unmarshal(body, &s); err != nil || s.Count == nil {
		v.say("summary", verdictRefused, "the answer is not an object with count, digest and algorithm")
		return nil //nolint:nilerr // a finding, and said
	}
	switch {
	case len(query) > 0 && *s.Count != int64(len(want)):
		v.say("summary", verdictRefused, "from the beginning to %s there are %d rows, it says %d (or somebody writes just now): a window has its beginning and not its end", query.Get("to"), len(want), *s.Count)
	case s.Algorithm != exportDigest:
		v.say("summary", verdictDegraded, "algorithm %.40q is not known: only counts are compared", s.Algorithm)
	case len(query) > 0 && !strings.EqualFold(s.Digest, digestOf(want)):
		v.say("summary", verdictRefused, "the digest of %d rows is %s, it says %.40q", len(want), digestOf(want), s.Digest)
	default:
		v.say("summary", verdictOK, "count and digest of %d rows", *s.Count)
	}
	return nil
}

// digestOf is the sum modulo 2^128 of md5(key|write_date).
func digestOf(rows []exportRow) string {
	sum, modulus := new(big.Int), new(big.Int).Lsh(big.NewInt(1), 128)
	for _, r := range rows {
		one := md5.Sum([]byte(strconv.FormatInt(r.id, 10) + "|" + r.at.Format(exportMoment)))
		sum.Add(sum, new(big.Int).SetBytes(one[:]))
	}
	return fmt.Sprintf("%032x", sum.Mod(sum, modulus))
}

// rights looks whether the export is for readers with a token, and for readers only.
func (v *exportVisit) rights(ctx context.Context) error {
	if v.token != "" {
		response, _, err := v.get(ctx, http.MethodGet, v.dataset.Name, url.Values{"limit": {"1"}, "format": {"csv"}}, "") //nolint:bodyclose // get has read and closed it
		if err != nil {
			return err
		}
		if response.StatusCode == http.StatusOK {
			v.say("rights", verdictDegraded, "the export also answers without a token: anybody can read it")
			return nil
		}
	}
	response, _, err := v.get(ctx, http.MethodOptions, v.dataset.Name, nil, v.token) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return err
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if strings.Contains(response.Header.Get("Allow"), method) {
			v.say("rights", verdictDegraded, "the server offers %s: the token should be of a user that may read only", method)
			return nil
		}
	}
	v.say("rights", verdictOK, "nothing but reading is offered")
	return nil
}
