package page_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/board/boardtest"
	"github.com/ofitec/ofitec/services/console/internal/page"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

// site is the page on a real port, with what a board knows.
type site struct {
	url, file string
	stream    *page.Stream
	board     *board.Board
	sent      []events.Payload
	fails     error
	figures   []board.Figure
	kpis      board.Kpis
	ledger    board.Ledger
	analytics string // a file with the connection of a real database, if the test has one
	filter    board.FigureFilter
}

func (s *site) Detail(sequence uint64) (events.Event, bool) { return s.board.Detail(sequence) }

func (s *site) Command(_ context.Context, payload events.Payload) error {
	s.sent = append(s.sent, payload)
	return s.fails
}

func (s *site) Figures(_ context.Context, filter board.FigureFilter) ([]board.Figure, error) {
	s.filter = filter
	return s.figures, s.fails
}

func (s *site) Kpis(ctx context.Context, filter board.FigureFilter) (board.Kpis, error) {
	s.filter = filter
	if s.analytics != "" {
		return postgres.Kpis(ctx, s.analytics, filter)
	}
	return s.kpis, s.fails
}

func (s *site) Ledger(ctx context.Context, filter board.LedgerFilter) (board.Ledger, error) {
	if s.analytics != "" {
		return postgres.Ledger(ctx, s.analytics, filter)
	}
	return s.ledger, s.fails
}

// open serves the page; inputs are what the board has heard.
func open(t *testing.T, inputs ...board.Input) *site {
	t.Helper()
	s := &site{file: filepath.Join(t.TempDir(), "link"), stream: page.NewStream(), board: &board.Board{}}
	for _, input := range inputs {
		s.board.Apply(input, time.Now())
	}
	s.publish(t)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	s.url = server.URL
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	door := page.NewDoor(s.file, s.url, time.Now, log)
	(&page.Page{
		Door: door, Stream: s.stream, Facts: s, Commands: s, Numbers: s, Version: "test", Host: "127.0.0.1", Now: time.Now, Log: log,
		Refused: func(string) {}, Commanded: func(string, error) {},
	}).Register(mux)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = door.Keep(ctx)
	}()
	t.Cleanup(func() {
		s.stream.Close()
		server.Close()
		cancel()
		<-ended
	})
	s.link(t)
	return s
}

func (s *site) publish(t *testing.T) {
	t.Helper()
	if err := s.stream.Publish(board.Decide(s.board, time.Now())); err != nil {
		t.Fatal(err)
	}
}

// link reads the one-time link as the operator does, and waits for it.
func (s *site) link(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if content, err := os.ReadFile(s.file); err == nil {
			return strings.TrimSpace(string(content))
		}
	}
	t.Fatal("no link after 10 s")
	return ""
}

// sizes are the ones that the page must look finished at.
var sizes = []struct {
	name          string
	width, height int
}{{"1280", 1280, 900}, {"390", 390, 844}}

func TestABrowserShowsTheDayWithoutAnyComplaint(t *testing.T) {
	for _, language := range []string{"en", "es"} {
		t.Run(language, func(t *testing.T) {
			b := newBrowser(t, language)
			s := open(t, boardtest.Day(time.Now())...)
			for _, scheme := range []string{"light", "dark"} {
				for _, size := range sizes {
					b.open(s.link(t), size.width, size.height, scheme)
					b.await(`!!document.querySelector(".u-wrap canvas") && document.querySelectorAll(".event").length > 8 && document.querySelectorAll(".gate canvas").length === 4`)
					text := b.eval("document.body.innerText")
					for _, want := range map[string][]string{
						"en": {"may write", "Gates of the last deployment", "52 min", "of 24 h", "69", "limit 1.2 s", "11 readings green, 0 red, 1 inconclusive", "v-rotator-odoo-app-7fWm2T", "payment_allocation", "failover.completed", "7.2 s without writes", "Live"},
						"es": {"puede escribir", "Pruebas del último despliegue", "de 24 h", "69", "límite 1,2 s", "11 mediciones en verde, 0 en rojo, 1 sin conclusión", "v-rotator-odoo-app-7fWm2T", "payment_allocation", "failover.completed", "7,2 s sin escrituras", "En vivo"},
					}[language] {
						if !strings.Contains(text, want) {
							t.Errorf("%s: the page has no %q", size.name, want)
						}
					}
					if wide := b.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != "0" {
						t.Errorf("%s: the page is %s pixels wider than the window", size.name, wide)
					}
					b.picture(language + "-" + scheme + "-" + size.name + "-top")
					b.size(size.width, 2600)
					b.picture(language + "-" + scheme + "-" + size.name)
				}
			}
			if len(b.said) > 0 {
				t.Errorf("the browser says %v", b.said)
			}
		})
	}
}

func TestABrowserShowsWhatIsMissing(t *testing.T) {
	b := newBrowser(t, "en")
	s := open(t, board.Answers{Name: "etcd", Reason: "no answer within 2 s"})
	for _, size := range sizes {
		b.open(s.link(t), size.width, size.height, "light")
		b.await(`document.body.innerText.includes("No event so far")`)
		text := b.eval("document.body.innerText")
		for _, want := range []string{"Who may write is unknown", "No failover so far", "No credential yet", "No export so far", "has not answered yet", "No event so far", "no answer within 2 s"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page has no %q", want)
			}
		}
		b.size(size.width, 1500)
		b.picture("missing-" + size.name)
	}
	if len(b.said) > 0 {
		t.Errorf("the browser says %v", b.said)
	}
}

// TestABrowserFollowsARolloutThatFails hears of a second credential with a canary that turns red, while the reader has the first one's gates open.
func TestABrowserFollowsARolloutThatFails(t *testing.T) {
	b := newBrowser(t, "en")
	s := open(t, boardtest.Day(time.Now())...)
	for _, size := range sizes {
		b.open(s.link(t), size.width, size.height, "light")
		b.await(`document.querySelectorAll(".gate canvas").length === 4`)
	}
	now := time.Now()
	part := 0.04
	begun, limit := now.Add(-20*time.Second), &state.Limits{ErrorRate: 0.01, P95: 1.2}
	failed := state.Deployment{
		Region: "a", Name: "odoo-master", Number: 9, Previous: 8, Hot: state.Blue, Colour: state.Green, Phase: state.DeploymentRolledBack, Since: now, Cause: "x", Step: "gate",
		Reason: "4 % of the canary's requests failed", Started: &begun, Limits: limit, Readings: &events.Readings{Green: 1, Red: 1},
		Samples: []state.Sample{{At: begun, Verdict: "green", Canary: state.Figures{ErrorRate: new(float64)}}, {At: now, Verdict: "red", Weight: 10, Reason: "errors", Canary: state.Figures{ErrorRate: &part}}},
	}
	none := state.Deployment{Region: "b", Name: "odoo-master", Number: 8, Hot: state.Blue, Phase: state.DeploymentDone, Since: begun, Cause: "y"} // of a deployer that kept no samples
	s.board.Apply(board.Documents{
		Credentials: []state.Credential{{Name: "odoo-master", Method: events.CredentialKV, Attempt: 1200, Grace: 30, Versions: []state.CredentialVersion{
			{Number: 8, Stage: state.StageCurrent, MintedAt: now.Add(-23 * time.Hour), ExpiresAt: now.Add(time.Hour), DeadlineAt: now.Add(time.Hour), TTL: 3600},
			{Number: 9, Stage: state.StageRolledBack, MintedAt: begun, Reason: failed.Reason},
		}}},
		Deployments: []state.Deployment{failed, none},
	}, now)
	s.publish(t)
	b.await(`document.getElementById("credentials").innerText.includes("odoo-master")`)
	b.await(`document.querySelectorAll(".gate canvas").length === 2`)
	text := b.eval("document.getElementById('credentials').innerText")
	for _, want := range []string{"rolled back", "4 % of the canary's requests failed", "1 readings green, 1 red, 0 inconclusive", "4.0%", "No reading of the gates is kept", "limit 1.0%"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q in %s", want, text)
		}
	}
	if fit := b.eval(`document.querySelector(".attempts").className + " " + document.querySelector(".attempts").innerText`); fit != "attempts warn 2" {
		t.Errorf("rollouts that fit are %q, want 2, in the colour of a warning", fit)
	}
	b.eval(`document.querySelector(".deployment > summary").click()`)
	s.publish(t)
	if open := b.eval(`document.querySelector(".deployment").open`); open != "false" {
		t.Error("what the reader has closed is open again")
	}
	b.eval(`document.querySelector(".deployment > summary").click()`)
	b.picture("failed-390")
	if len(b.said) > 0 {
		t.Errorf("the browser says %v", b.said)
	}
}

func TestABrowserFollowsAFailoverAsItRuns(t *testing.T) {
	b := newBrowser(t, "en")
	now := time.Now()
	s := open(t, boardtest.Day(now)...)
	for _, size := range sizes {
		b.open(s.link(t), size.width, size.height, "light")
		b.await(`document.querySelectorAll(".event").length > 8`)
	}
	f := events.Failover{Epoch: 3, From: "b", To: "a", Cause: events.CauseSwitchover}
	act := &events.Act{Actor: "maria", Reason: "maintenance of region b", Request: "r-77", At: now}
	hear := func(sequence uint64, payload events.Payload) {
		s.board.Apply(boardtest.Fact(sequence, "c", "failover-arbiter", now, payload), now)
	}
	hear(900, events.FailoverStarted{Failover: f, DecidedAt: now.Add(-3 * time.Second), Rule: "manual", Leader: "c", Term: 1, Act: act})
	hear(901, events.FailoverFenced{Failover: f, FencedAt: now.Add(-time.Second), Manner: "receipt", Waited: 2, Receipt: &events.Receipt{Region: "b", Epoch: 2, Counts: []int{0, 0}, Refused: true, FlushLSN: 9, Timeline: 2, WrittenAt: now}})
	s.board.Apply(board.Answer{Region: "b", Reached: true, Reason: "fenced for epoch 3"}, time.Now()) // not now: on a busy machine that was long ago
	s.publish(t)
	b.await(`document.getElementById("failover").innerText.includes("under way")`)
	text := b.eval("document.body.innerText")
	for _, want := range []string{"Asked for by maria: maintenance of region b.", "proved with a receipt", "closed, takes no writes", "fenced for epoch 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	b.picture("running-390")
	before := b.eval(`document.querySelector("#failover .steps").innerText`)
	b.await(`document.querySelector("#failover .steps").innerText !== ` + "`" + before + "`")
	if len(b.said) > 0 {
		t.Errorf("the browser says %v", b.said)
	}
}

func TestABrowserOpensADetailAndSendsACommand(t *testing.T) {
	b := newBrowser(t, "en")
	s := open(t, boardtest.Day(time.Now())...)
	b.open(s.link(t), 1280, 900, "light")
	b.await(`document.querySelectorAll(".event").length > 8`)
	b.eval(`[...document.querySelectorAll(".event button")].find((e) => e.innerText.includes("failover.completed")).click()`)
	b.await(`!!document.querySelector(".event pre") && document.querySelector(".event pre").innerText.includes("last_stale_client")`)
	b.eval(`[...document.querySelectorAll("button")].find((e) => e.innerText === "Rotate now").click()`)
	b.await(`document.getElementById("order").open`)
	b.eval(`document.getElementById("order-reason").value = "drill"`)
	b.picture("dialog-1280")
	b.eval(`document.getElementById("order-send").click()`)
	b.await(`!document.getElementById("order").open && document.body.innerText.includes("on its way")`)
	if len(s.sent) != 1 {
		t.Errorf("sent %v", s.sent)
	}
	b.picture("sent-1280")
	b.eval(`document.getElementById("leave").click()`)
	b.await(`document.body.innerText.includes("Your session has ended")`)
	if len(b.said) > 0 {
		t.Errorf("the browser says %v", b.said)
	}
}

func TestABrowserWithoutASessionIsToldWhereTheLinkIs(t *testing.T) {
	b := newBrowser(t, "en")
	s := open(t)
	for _, size := range sizes {
		b.open(s.url+"/", size.width, size.height, "light")
		b.await(`document.body.innerText.includes("bin/ofitec console")`)
		if text := b.eval("document.body.innerText"); !strings.Contains(text, "one-time link") || !strings.Contains(text, "un solo uso") {
			t.Errorf("the page says %s", text)
		}
		b.picture("closed-" + size.name)
	}
}

func TestNothingJumpsWhileThePageFillsAndLives(t *testing.T) {
	b := newBrowser(t, "en")
	s := open(t, boardtest.Day(time.Now())...)
	for _, size := range sizes {
		b.open(s.link(t), size.width, size.height, "light")
		b.eval(`window.jumps = 0; new PerformanceObserver((list) => { for (const e of list.getEntries()) window.jumps += e.value; }).observe({ type: "layout-shift", buffered: true })`)
		b.await(`!!document.querySelector(".u-wrap canvas") && document.querySelectorAll(".event").length > 8`)
		s.board.Apply(board.Answer{Region: "a", Reached: true, Standby: true, Reason: size.name}, time.Now())
		s.publish(t)
		b.eval(`new Promise((done) => setTimeout(done, 1500))`)
		if jumps := b.eval(`window.jumps < 0.05`); jumps != "true" {
			t.Errorf("%s: the layout jumps by %s", size.name, b.eval("window.jumps"))
		}
	}
}
