package bus

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ofitec/ofitec/events"
)

const tracerName = "github.com/ofitec/ofitec/events/bus"

var traceContext propagation.TraceContext

// Traceparent is the context's span as a W3C traceparent, for events.WithTrace; empty when nobody traces.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	return carrier[HeaderTrace]
}

func joined(ctx context.Context, traceparent string) context.Context {
	return traceContext.Extract(ctx, propagation.MapCarrier{HeaderTrace: traceparent})
}

// consuming starts the span of handling an event, a child of the one that published it.
func consuming(ctx context.Context, delivery Delivery, header map[string][]string) (context.Context, trace.Span) {
	traceparent := delivery.Event.TraceParent
	if values := header[HeaderTrace]; len(values) > 0 {
		traceparent = values[0]
	}
	return otel.Tracer(tracerName).Start(joined(ctx, traceparent), "consume "+delivery.Event.Type.Name(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("messaging.message.id", delivery.Event.MsgID()), attribute.Int("messaging.attempt", delivery.Attempt)))
}

// publishing starts the span of publishing an event and returns the traceparent for the header: the span's own, or the event's when nobody records it.
func publishing(ctx context.Context, event events.Event) (context.Context, trace.Span, string) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = joined(ctx, event.TraceParent)
	}
	ctx, span := otel.Tracer(tracerName).Start(ctx, "publish "+event.Type.Name(), trace.WithSpanKind(trace.SpanKindProducer))
	if !span.IsRecording() {
		return ctx, span, event.TraceParent
	}
	return ctx, span, Traceparent(ctx)
}

func finish(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
