// Package tracing starts OpenTelemetry for a service and carries the W3C trace context over the bus.
package tracing

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// endpointVariable is OpenTelemetry's own; the exporter reads it, and the rest of OTEL_EXPORTER_OTLP_*, by itself.
const endpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"

// header is the W3C name; the bus and CloudEvents use it in lower case, where http.Header would not.
const header = "traceparent"

var propagator = propagation.TraceContext{}

// Start makes the process's tracer provider and the global one. Spans always have identifiers, so that traceparent joins what belongs
// together; they leave the process only when OTEL_EXPORTER_OTLP_ENDPOINT is set. The result flushes and stops it.
func Start(ctx context.Context, service, region, version string) (stop func(context.Context) error, err error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", service),
		attribute.String("service.version", version),
		attribute.String("ofitec.region", region),
	))}
	if os.Getenv(endpointVariable) != "" {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("make trace exporter for %s=%q: %w", endpointVariable, os.Getenv(endpointVariable), err)
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagator)
	return provider.Shutdown, nil
}

// Span begins a span named like the act ("promote region"); the caller ends it.
func Span(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return otel.Tracer("github.com/ofitec/ofitec").Start(ctx, name, trace.WithAttributes(attributes...))
}

// Traceparent is the context's trace as a CloudEvents extension carries it; empty when the context has none.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagator.Inject(ctx, carrier)
	return carrier[header]
}

// WithTraceparent continues the trace that a CloudEvents extension names. A malformed value leaves the context as it is.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	return propagator.Extract(ctx, propagation.MapCarrier{header: traceparent})
}

// Inject writes the context's trace into a message's headers (nats.Header converts to this type).
func Inject(ctx context.Context, headers map[string][]string) {
	propagator.Inject(ctx, carrier(headers))
}

// Extract continues the trace that a message's headers name, if any.
func Extract(ctx context.Context, headers map[string][]string) context.Context {
	return propagator.Extract(ctx, carrier(headers))
}

// carrier keeps the names' case, as NATS does.
type carrier map[string][]string

var _ propagation.TextMapCarrier = carrier{}

func (c carrier) Get(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { c[key] = []string{value} }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
