package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/chassis/chassistest"
	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/monitor"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

// lookingAt is an environment in which nothing answers, with changes.
func lookingAt(t *testing.T, changes ...string) []string {
	t.Helper()
	nobody := chassistest.FreeAddr(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"OFITEC_WEB_A_URL=http://" + nobody + "/web/health", "OFITEC_WEB_B_URL=http://" + nobody + "/web/health",
		"OFITEC_POSTGRES_A_ADDR=" + nobody, "OFITEC_POSTGRES_B_ADDR=" + nobody, "OFITEC_POSTGRES_PASSWORD_FILE=" + password,
		"OFITEC_PROMETHEUS_A_URL=http://" + nobody, "OFITEC_PROMETHEUS_B_URL=http://" + nobody, "OFITEC_DNS_SERVER=" + nobody,
	}, changes...)
}

func TestItBehavesLikeEveryService(t *testing.T) { chassistest.Conduct(t, name, lookingAt(t)...) }

func TestATimeoutThatReachesIntoTheNextRoundIsRefusedByTheRulesName(t *testing.T) {
	env := lookingAt(t, "OFITEC_REGION=outside", "NATS_URL=nats://127.0.0.1:1", "OFITEC_PROBE_TIMEOUT=500ms", "OFITEC_POSTGRES_A_ADDR=somewhere", "OFITEC_REGION_A_ADDRESS=1.2.3.4")
	status, _, complaints := chassistest.Run(t, nil, env...)
	for _, want := range []string{`OFITEC_PROBE_TIMEOUT="500ms"`, "rule R5", `OFITEC_POSTGRES_A_ADDR="somewhere"`, `OFITEC_REGION="outside"`, "OFITEC_REGION_A_ADDRESS"} {
		if status != 2 || !strings.Contains(complaints, want) {
			t.Errorf("status %d, no %s in %s", status, want, complaints)
		}
	}
}

func TestADeadRegionIsToldEveryRoundWithANumberOfItsOwn(t *testing.T) {
	url := chassistest.NATS(t)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard, err := conn.SubscribeSync("ofitec.a.health.>")
	if err != nil || conn.Flush() != nil {
		t.Fatalf("subscribe: %v", err)
	}
	began := time.Now()
	// Long enough that a starved machine does not look like an observer that stood still.
	p := chassistest.Start(t, lookingAt(t, "NATS_URL="+url, "OFITEC_PROBE_INTERVAL=2s", "OFITEC_PROBE_TIMEOUT=1800ms")...)
	rows, last, incarnation := map[events.Region]int{}, int64(0), ""
	for range 6 {
		msg, err := heard.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		event, err := events.Decode(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		h, err := events.PayloadOf[events.HealthObserved](event)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Header.Get("Nats-Msg-Id") != event.MsgID() || msg.Subject != event.Subject || msg.Header.Get("Content-Type") != events.ContentType {
			t.Errorf("the message's header is %v", msg.Header)
		}
		if last == 0 {
			last, incarnation = h.Number-1, h.Incarnation
			rows[h.Target] = h.FailuresInRow - 1
			rows[h.Target.Peer()] = -1
		}
		if h.Number != last+1 || h.Incarnation != incarnation || h.Observer != "a" {
			t.Errorf("number %d of %s by %s follows %d of %s", h.Number, h.Incarnation, h.Observer, last, incarnation)
		}
		if rows[h.Target] >= 0 && (h.Verdict != events.OutcomeFailed || h.FailuresInRow != rows[h.Target]+1) {
			t.Errorf("region %s is %s, %d in a row after %d: %+v", h.Target, h.Verdict, h.FailuresInRow, rows[h.Target], h.Checks.Postgres)
		}
		if h.Gates == nil || h.Gates.Healthy != events.OutcomeUnknown || h.Checks.DNS.Outcome != events.OutcomeUnknown {
			t.Errorf("no data is %+v, a silent DNS server is %+v", h.Gates, h.Checks.DNS)
		}
		last, rows[h.Target] = h.Number, h.FailuresInRow
	}
	p.Await(t, "/readyz", 200) // dead regions are its work, not its trouble
	if _, body := p.Get("/metrics"); !strings.Contains(body, `ofitec_health_probe_gates_total{outcome="unknown",target="a"}`) {
		t.Error("gates without data are not counted")
	}
	atMost := 1 + int(time.Since(began)/notice.Every)
	for _, kind := range observation.Kinds {
		if lines := strings.Count(p.Output(), "region b: the check "+string(kind)+" is not ok"); lines < 1 || lines > atMost {
			t.Errorf("%d log lines about %s", lines, kind)
		}
	}
}

func TestObservingGoesOnWithoutTheBus(t *testing.T) {
	p := chassistest.Start(t, lookingAt(t, "NATS_URL=nats://"+chassistest.FreeAddr(t))...)
	dropped := regexp.MustCompile(`ofitec_health_probe_events_total\{result="away",type="health.observed.v1"\} [1-9]`)
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, body := p.Get("/metrics")
		if dropped.MatchString(body) && strings.Contains(body, `ofitec_health_probe_rounds_total{target="b",verdict="failed"}`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no observation was made and dropped:\n%s", body)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, ready := p.Get("/readyz"); !strings.Contains(ready, `"rounds":"ok"`) {
		t.Errorf("the rounds stand still: %s", ready)
	}
}

// bench makes an observer of looks whose events are counted.
func bench(looks map[observation.Kind]look) (*observer, *atomic.Int64) {
	c := NewConfig()
	c.Region, c.Interval, c.Timeout = "c", 50*time.Millisecond, 20*time.Millisecond
	m := newMetrics(chassismetrics.New(name))
	told := &atomic.Int64{}
	return newObserver(c, "a", looks, newBook("c", func(events.Event) { told.Add(1) }, m, nil), m), told
}

func TestALookThatNeverReturnsHoldsUpNoRoundAndIsNotBegunTwice(t *testing.T) {
	release, begun := make(chan struct{}), atomic.Int64{}
	o, told := bench(map[observation.Kind]look{
		observation.Postgres: func(context.Context) observation.Result { begun.Add(1); <-release; return observation.OK() },
		observation.HTTP:     func(context.Context) observation.Result { return observation.OK() },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); told.Load() < 5; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rounds stand still")
		}
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("the hanging look was begun %d times", n)
	}
	cancel()
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHowFarAClockIsOffIsToldAsLongAsTheDatabaseTellsIt(t *testing.T) {
	registry := chassismetrics.New(name)
	m := newMetrics(registry)
	told := func() string {
		answer := httptest.NewRecorder()
		registry.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for line := range strings.Lines(answer.Body.String()) {
			if strings.HasPrefix(line, "ofitec_health_probe_clock_offset_seconds{") {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}
	m.clock("a", &observation.Database{ClockOffset: time.Hour})
	if got := told(); got != `ofitec_health_probe_clock_offset_seconds{target="a"} 3600` {
		t.Errorf("told is %q", got)
	}
	if m.clock("a", nil); told() != "" {
		t.Errorf("a database that is away has a clock: %q", told())
	}
}

func TestWhatTheBusHoldsIsToldAsLongAsItTells(t *testing.T) {
	registry := chassismetrics.New(name)
	m := newMetrics(registry)
	for _, want := range []struct {
		storage monitor.Storage
		told    bool
		lines   []string
	}{
		{monitor.Storage{Serves: true, Stored: 7, Limit: 9}, true, []string{`nats_jetstream{is="on"} 1`, `nats_storage_bytes{is="limit"} 9`, `nats_storage_bytes{is="stored"} 7`}},
		{monitor.Storage{}, true, []string{`nats_jetstream{is="on"} 0`}},
		{monitor.Storage{}, false, nil},
	} {
		m.stores(want.storage, want.told)
		answer := httptest.NewRecorder()
		registry.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		var lines []string
		for line := range strings.Lines(answer.Body.String()) {
			if line, ours := strings.CutPrefix(strings.TrimSpace(line), "ofitec_health_probe_"); ours && strings.HasPrefix(line, "nats_") {
				lines = append(lines, line)
			}
		}
		if !slices.Equal(lines, want.lines) {
			t.Errorf("told is %q, want %q", lines, want.lines)
		}
	}
}

func TestAWholeRoundThroughItsKinds(t *testing.T) {
	odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ofitec-Region", "a")
		fmt.Fprint(w, `{"status":"pass","database":"writable"}`)
	}))
	defer odoo.Close()
	c := NewConfig()
	c.Region = "b"
	t1 := target{region: "a", web: odoo.URL + "/web/health", postgres: chassistest.FreeAddr(t), prometheus: odoo.URL}
	looks := map[observation.Kind]look{}
	for kind, maker := range kinds {
		looks[kind] = maker(c, nil, t1)
	}
	o, _ := bench(looks)
	o.timeout, o.interval = 5*time.Second, 6*time.Second
	results := o.round(t.Context())
	if got := results[observation.HTTP]; got.Outcome != events.OutcomeOK || !got.Reads {
		t.Errorf("http is %+v", got)
	}
	if got := results[observation.Postgres]; got.Outcome != events.OutcomeFailed {
		t.Errorf("postgres is %+v", got)
	}
	if len(results) != len(observation.Kinds) {
		t.Errorf("%d results, want one of each kind", len(results))
	}
}
