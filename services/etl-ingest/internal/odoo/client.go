// Package odoo reads Odoo's export over HTTP: GET {base}/of/export/<dataset>?since=&after_id=&limit=&format=. The headers X-Ofitec-Source-Clock, -Rows and -More are
// used when they are there; a server without them is worked with by its Date, by its body's framing, and by counting.
package odoo

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// Headers of an answer.
const (
	headerClock = "X-Ofitec-Source-Clock"
	headerRows  = "X-Ofitec-Rows"
	headerMore  = "X-Ofitec-More"
)

// ErrNotOffered is wrapped when the server answers 404 for a dataset.
var ErrNotOffered = errors.New("the server does not offer it")

// Server says where the export is.
type Server struct {
	URL     string
	Token   string        // bearer token; empty for none
	CAFile  string        // of https; the system's authorities when empty
	Timeout time.Duration // without a sign of life
}

// Client reads pages. It is safe for concurrent use.
type Client struct {
	server Server
	http   *http.Client
}

// New makes a client; it connects when it is asked for a page.
func New(s Server) (*Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: s.Timeout, TLSHandshakeTimeout: s.Timeout,
		DisableCompression: true, // asked for and undone here, so that an end that is missing is seen
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read Odoo's authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read Odoo's authority: %s holds no certificate", s.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	// A redirection would carry the token elsewhere.
	return &Client{server: s, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Request is a page that is wanted: rows from a place on, or rows by id.
type Request struct {
	Dataset string
	Columns Columns
	Format  string // csv or json
	At      extract.Place
	Limit   int
	IDs     []int64 // these rows as they are now, in place of At and Limit

	// Frozen, when set, are the columns that the page must have, and no others.
	Frozen []string

	// Visit, when set, is called at the beginning, and what it returns for each row.
	Visit func() func(extract.Place) error
}

// Page writes a page's plain bytes to sink as they arrive and says what they are. On an error, what sink got is worth nothing. Errors are
// *extract.PullError, except ErrNotOffered, the context's and those of Visit.
func (c *Client) Page(ctx context.Context, r Request, sink io.Writer) (extract.Page, error) {
	counted := &rows{format: r.Format, columns: r.Columns, names: map[string]bool{}}
	if r.Visit != nil {
		counted.visit = r.Visit()
	}
	page := extract.Page{At: r.At}
	err := c.get(ctx, r.Dataset, "", r.query(), func(a answer) (err error) {
		page.Clock = a.clock
		if more, err := strconv.ParseBool(a.response.Header.Get(headerMore)); err == nil {
			page.More = &more
		}
		if page.SHA256, page.Bytes, err = receive(a.body, counted, sink); err != nil {
			return err
		}
		if err := complete(&page, counted, a.response); err != nil {
			return err
		}
		return r.frozen(page)
	})
	return page, err
}

// Read is Page for a file that does not come over HTTP: it writes its plain bytes to sink and says what they are. The file is known to be whole.
func Read(r Request, file io.Reader, sink io.Writer) (extract.Page, error) {
	counted := &rows{format: r.Format, columns: r.Columns, names: map[string]bool{}}
	var page extract.Page
	var err error
	if page.SHA256, page.Bytes, err = receive(file, counted, sink); err != nil {
		return page, err
	}
	if err := complete(&page, counted, &http.Response{ContentLength: page.Bytes}); err != nil {
		return page, err
	}
	return page, r.frozen(page)
}

func (r Request) query() url.Values {
	query := url.Values{"format": {r.Format}}
	if len(r.IDs) > 0 {
		ids := make([]string, len(r.IDs))
		for n, id := range r.IDs {
			ids[n] = strconv.FormatInt(id, 10)
		}
		query.Set("ids", strings.Join(ids, ","))
		return query
	}
	query.Set("limit", strconv.Itoa(r.Limit))
	if !r.At.Since.IsZero() {
		query.Set("since", r.At.Since.UTC().Format(extract.Moment))
	}
	if r.At.HasID {
		query.Set("after_id", strconv.FormatInt(r.At.ID, 10))
	}
	return query
}

// answer is a 200 and its body, without Content-Encoding.
type answer struct {
	response *http.Response
	clock    time.Time // the source's, before it looked
	body     io.Reader
}

// get asks for /of/export/<dataset><suffix> and hands a good answer to use. The server may take its time, as long as it gives signs of life.
func (c *Client) get(ctx context.Context, dataset, suffix string, query url.Values, use func(answer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	life := time.AfterFunc(c.server.Timeout, func() { cancel(errSilent) })
	defer life.Stop()
	asked := time.Now()
	response, err := c.ask(ctx, dataset+suffix, query)
	if err != nil {
		return failed(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	if response.StatusCode != http.StatusOK {
		return refused(dataset+suffix, response)
	}
	alive := readerFunc(func(p []byte) (int, error) {
		n, err := response.Body.Read(p)
		life.Reset(c.server.Timeout)
		return n, err
	})
	body, err := decoded(response, alive)
	if err == nil {
		err = use(answer{response, clockOf(response, asked), body})
	}
	return failed(ctx, err)
}

var errSilent = errors.New("no sign of life")

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (c *Client) ask(ctx context.Context, what string, query url.Values) (*http.Response, error) {
	address := strings.TrimRight(c.server.URL, "/") + "/of/export/" + what
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "gzip")
	request.Header.Set("User-Agent", "ofitec-etl-ingest")
	if c.server.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.server.Token)
	}
	return c.http.Do(request)
}

// sinkError tells an error of the sink from one of the connection.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// decoded undoes the Content-Encoding.
func decoded(response *http.Response, body io.Reader) (io.Reader, error) {
	switch encoding := response.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	default:
		return nil, &extract.PullError{Code: extract.CodeContract, Status: 200, Reason: fmt.Sprintf("Content-Encoding %.20q was not asked for", encoding)}
	}
}

// receive hands the body to the row counter and the sink.
func receive(body io.Reader, counted *rows, sink io.Writer) (sum string, size int64, err error) {
	hash := sha256.New()
	buffer := make([]byte, 128<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			size += int64(n)
			hash.Write(buffer[:n])
			if _, err := counted.Write(buffer[:n]); err != nil {
				return "", 0, err
			}
			if _, err := sink.Write(buffer[:n]); err != nil {
				return "", 0, &sinkError{err}
			}
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), size, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
}

// complete checks that the page is whole.
func complete(page *extract.Page, counted *rows, response *http.Response) error {
	if err := counted.close(framed(response)); err != nil {
		return err
	}
	if counted.format == "csv" && counted.header == nil && page.Bytes > 0 {
		return schema("there is no header line")
	}
	page.Rows, page.Columns = counted.count, counted.columnsSeen()
	if said := response.Header.Get(headerRows); said != "" && said != strconv.FormatInt(page.Rows, 10) {
		return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: fmt.Sprintf("the body has %d rows, %s says %.20q", page.Rows, headerRows, said)}
	}
	if err := counted.order.end(counted, page); err != nil {
		return err
	}
	page.Misplaced = counted.misplaced
	return counted.placed()
}

// frozen is an error when the page has other columns than it must have. JSON leaves columns out as it likes.
func (r Request) frozen(page extract.Page) error {
	if r.Frozen == nil || page.Rows == 0 {
		return nil
	}
	drift := extract.Compare(r.Frozen, page.Columns)
	if r.Format != "csv" {
		drift.Missing = nil
	}
	if !drift.Any() {
		return nil
	}
	return schema("the columns are not those of the models (%s) and the dataset is frozen", drift)
}

// framed says that the end of a body is known, so that one that was cut off is an error by itself.
func framed(response *http.Response) bool {
	return response.ContentLength >= 0 || len(response.TransferEncoding) > 0 || response.Header.Get("Content-Encoding") != "" || response.ProtoMajor > 1
}
