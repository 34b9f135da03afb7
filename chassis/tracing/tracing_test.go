package tracing_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/ofitec/ofitec/chassis/tracing"
)

func start(t *testing.T) func(context.Context) error {
	t.Helper()
	stop, err := tracing.Start(t.Context(), "rotator", "a", "devel")
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

func TestATraceGoesOnBehindTheBus(t *testing.T) {
	start(t)
	ctx, span := tracing.Span(t.Context(), "rotate credential")
	defer span.End()
	want := span.SpanContext().TraceID()

	traceparent := tracing.Traceparent(ctx)
	if got := trace.SpanContextFromContext(tracing.WithTraceparent(context.Background(), traceparent)).TraceID(); got != want {
		t.Errorf("by the extension %q: trace %s, want %s", traceparent, got, want)
	}
	headers := map[string][]string{}
	tracing.Inject(ctx, headers)
	if got := headers["traceparent"]; len(got) != 1 || got[0] != traceparent {
		t.Errorf("headers %v", headers)
	}
	if got := trace.SpanContextFromContext(tracing.Extract(context.Background(), headers)).TraceID(); got != want {
		t.Errorf("by the headers: trace %s, want %s", got, want)
	}
}

func TestAMalformedTraceparentIsLeftAside(t *testing.T) {
	ctx := tracing.WithTraceparent(context.Background(), "not-a-trace")
	if trace.SpanContextFromContext(ctx).IsValid() || tracing.Traceparent(ctx) != "" {
		t.Error("accepted")
	}
}

func TestSpansLeaveTheProcessWhenACollectorIsNamed(t *testing.T) {
	received := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.URL.Path }))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	stop := start(t)
	_, span := tracing.Span(t.Context(), "rotate credential")
	span.End()
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if path := <-received; !strings.HasSuffix(path, "/v1/traces") {
		t.Errorf("sent to %s", path)
	}
}
