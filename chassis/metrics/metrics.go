// Package metrics is a Prometheus registry that knows the project's naming rule: ofitec_<service>_<noun>_<unit>, in base units.
package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/ofitec/ofitec/chassis/buildinfo"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// shared are the nouns of furniture that looks the same in every service, so that one query covers all of them.
var shared = []string{"ofitec_build_", "ofitec_bus_", "ofitec_nats_", "ofitec_vault_"}

// Registry is a prometheus.Registerer and Gatherer that refuses wrong names. It is safe for concurrent use.
type Registry struct {
	*prometheus.Registry
	prefix string
}

var _ prometheus.Registerer = (*Registry)(nil)

// New makes the registry of a service with the Go and process collectors and ofitec_build_info.
func New(service string) *Registry {
	r := &Registry{Registry: prometheus.NewRegistry(), prefix: "ofitec_" + strings.ReplaceAll(service, "-", "_") + "_"}
	r.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := buildinfo.Get()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "ofitec_build_info", Help: "Always 1; which build of which service runs, by its labels.",
	}, []string{"service", "version", "revision", "goversion"})
	info.WithLabelValues(service, build.Version, build.Revision, build.Go).Set(1)
	r.MustRegister(info)
	return r
}

// Name is the full name of a metric of this service: Name("renewals_total") is ofitec_<service>_renewals_total.
func (r *Registry) Name(nounUnit string) string { return r.prefix + nounUnit }

// Register is prometheus.Registerer's; a name against the rule is an error.
func (r *Registry) Register(c prometheus.Collector) error {
	if err := r.checkNames(c); err != nil {
		return err
	}
	return r.Registry.Register(c)
}

// MustRegister is prometheus.Registerer's; it panics on a name against the rule.
func (r *Registry) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Counter makes and registers a counter; nounUnit as in Name, ending in _total.
func (r *Registry) Counter(nounUnit, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: r.Name(nounUnit), Help: help})
	r.MustRegister(c)
	return c
}

// CounterVec is Counter with labels.
func (r *Registry) CounterVec(nounUnit, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: r.Name(nounUnit), Help: help}, labels)
	r.MustRegister(c)
	return c
}

// Gauge makes and registers a gauge.
func (r *Registry) Gauge(nounUnit, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: r.Name(nounUnit), Help: help})
	r.MustRegister(g)
	return g
}

// GaugeVec is Gauge with labels.
func (r *Registry) GaugeVec(nounUnit, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: r.Name(nounUnit), Help: help}, labels)
	r.MustRegister(g)
	return g
}

// HistogramVec makes and registers a histogram with the given upper bounds, in base units.
func (r *Registry) HistogramVec(nounUnit, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: r.Name(nounUnit), Help: help, Buckets: bounds}, labels)
	r.MustRegister(h)
	return h
}

var describedName = regexp.MustCompile(`^Desc\{fqName: "([^"]*)"`)

// checkNames reads the names out of the collector's descriptions; they have no accessor.
func (r *Registry) checkNames(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descriptions)
		close(descriptions)
	}()
	var problems []error
	for d := range descriptions {
		match := describedName.FindStringSubmatch(d.String())
		if match == nil || !r.owns(match[1]) {
			problems = append(problems, fmt.Errorf("register metric %s: want a name that begins with %s", d, r.prefix))
		}
	}
	return errors.Join(problems...)
}

func (r *Registry) owns(name string) bool {
	if strings.HasPrefix(name, r.prefix) {
		return len(name) > len(r.prefix)
	}
	for _, prefix := range shared {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Handler serves the metrics in the formats that Prometheus asks for.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
