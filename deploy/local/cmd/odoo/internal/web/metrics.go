package web

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
)

// buckets are seconds. 1.2 is the bar of the gate, so the share of requests below it is exact.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, .75, 1, 1.2, 1.5, 2.5, 5, 10}

// Metrics are what Prometheus reads about one colour.
type Metrics struct {
	Registry *prometheus.Registry
	requests *prometheus.HistogramVec
	// transactions counts the writer's, by kind and outcome (committed, failed).
	transactions *prometheus.CounterVec
	active       prometheus.Gauge
}

// NewMetrics makes and registers them.
func NewMetrics(colour string, db *database.Database) *Metrics {
	own := prometheus.Labels{"colour": colour}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "odoo_http_request_duration_seconds",
			Help: "Time to answer a request.", Buckets: buckets, ConstLabels: own}, []string{"method", "route", "code"}),
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "odoo_writer_transactions_total",
			Help: "Transactions of the actor that keeps changing rows.", ConstLabels: own}, []string{"kind", "outcome"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{Name: "odoo_writer_active", Help: "1 while this colour changes rows; one colour does.", ConstLabels: own}),
	}
	m.Registry.MustRegister(m.requests, m.transactions, m.active, poolCollector{db, colour},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "odoo_database_writable", Help: "1 when the database takes writes from this colour.", ConstLabels: own},
			func() float64 { return number(db.State() == database.Writable) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "odoo_database_readable", Help: "1 when the database can be read.", ConstLabels: own},
			func() float64 { return number(db.State() != database.Away) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "odoo_read_staleness_seconds", Help: "How old at most what this colour reads is; 0 while the database takes writes, NaN when nobody knows.", ConstLabels: own},
			func() float64 { return staleness(db) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func staleness(db *database.Database) float64 {
	if db.State() == database.Writable {
		return 0
	}
	age, known := db.Staleness(time.Now())
	if !known {
		return math.NaN()
	}
	return age.Seconds()
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// measure records how long a route's requests take and what they answer.
func (m *Metrics) measure(route string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorded := &recorder{ResponseWriter: w, code: http.StatusOK}
		next(recorded, r)
		m.requests.WithLabelValues(r.Method, route, strconv.Itoa(recorded.code)).Observe(time.Since(start).Seconds())
	}
}

type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader remembers the status.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// poolCollector reads the pools when Prometheus asks.
type poolCollector struct {
	db     *database.Database
	colour string
}

var (
	poolConnections = prometheus.NewDesc("odoo_database_pool_connections", "Connections of a pool by state.", []string{"colour", "pool", "state"}, nil)
	poolLimit       = prometheus.NewDesc("odoo_database_pool_connections_max", "Most connections that a pool may have.", []string{"colour", "pool"}, nil)
)

// Describe names the gauges.
func (c poolCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- poolConnections
	ch <- poolLimit
}

// Collect reads them.
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	for name, pool := range c.db.Pools() {
		c.collect(ch, name, pool.Stat())
	}
}

func (c poolCollector) collect(ch chan<- prometheus.Metric, name string, s *pgxpool.Stat) {
	for state, n := range map[string]int32{"idle": s.IdleConns(), "used": s.AcquiredConns(), "connecting": s.ConstructingConns()} {
		ch <- prometheus.MustNewConstMetric(poolConnections, prometheus.GaugeValue, float64(n), c.colour, name, state)
	}
	ch <- prometheus.MustNewConstMetric(poolLimit, prometheus.GaugeValue, float64(s.MaxConns()), c.colour, name)
}

// Writes tells whether this colour is the one that changes rows.
func (m *Metrics) Writes(active bool) { m.active.Set(number(active)) }

// Done counts a transaction of the writer.
func (m *Metrics) Done(kind string, err error) {
	outcome := "committed"
	if err != nil {
		outcome = "failed"
	}
	m.transactions.WithLabelValues(kind, outcome).Inc()
}
