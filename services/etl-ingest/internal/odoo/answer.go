package odoo

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// clockOf is the source's clock: what it says, else its Date, which is in whole seconds and of the answer, so a second is taken off; else our own when we asked.
func clockOf(response *http.Response, asked time.Time) time.Time {
	if clock, err := parseMoment(response.Header.Get(headerClock)); err == nil {
		return clock
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		return date.UTC().Add(-time.Second)
	}
	return asked.UTC()
}

// refused makes a failure of an answer other than 200. The answer's text is not repeated: it may hold anything.
func refused(what string, response *http.Response) error {
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection can be used again
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("read %s: %w", what, ErrNotOffered)
	}
	f := &extract.PullError{Code: extract.CodeStatus, Status: response.StatusCode, Reason: http.StatusText(response.StatusCode)}
	f.Again = response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusRequestTimeout || response.StatusCode >= 500
	f.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	return f
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 && seconds < 1e6 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// failed says what an error of the transport means.
func failed(ctx context.Context, err error) error {
	var known *extract.PullError
	var ofSink *sinkError
	var network *net.OpError
	var timeout net.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &ofSink):
		return &extract.PullError{Code: extract.CodeStorage, Reason: "write the page", Cause: ofSink.err}
	case errors.Is(context.Cause(ctx), errSilent) || errors.As(err, &timeout) && timeout.Timeout():
		return &extract.PullError{Code: extract.CodeTimeout, Again: true, Reason: "no sign of life", Cause: err}
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || isFlate(err):
		return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: "the body is cut off or damaged", Cause: err}
	case errors.As(err, &network) && network.Op == "read":
		return &extract.PullError{Code: extract.CodeTruncated, Again: true, Reason: "the connection broke off", Cause: err}
	}
	return &extract.PullError{Code: extract.CodeRefused, Again: true, Reason: "no connection", Cause: err}
}

func isFlate(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt)
}
