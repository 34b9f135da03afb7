package page_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/board/boardtest"
)

// visitor is a browser without scripts.
type visitor struct {
	*http.Client
	t *testing.T
}

func newVisitor(t *testing.T) visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{&http.Client{Jar: jar, Timeout: 10 * time.Second}, t}
}

// inside is a visitor with a session.
func inside(t *testing.T, s *site) visitor {
	t.Helper()
	v := newVisitor(t)
	if status, _, _ := v.get(s.link(t)); status != http.StatusOK {
		t.Fatalf("the link answers %d", status)
	}
	return v
}

func (v visitor) get(address string) (int, string, http.Header) {
	v.t.Helper()
	return v.do(http.MethodGet, address, nil, nil)
}

func (v visitor) do(method, address string, body io.Reader, header map[string]string) (int, string, http.Header) {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, address, body)
	if err != nil {
		v.t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	response, err := v.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return response.StatusCode, string(content), response.Header
}

func TestWithoutASessionThereIsNothingButWhereTheLinkIs(t *testing.T) {
	s := open(t, boardtest.Day(time.Now())...)
	v := newVisitor(t)
	status, body, _ := v.get(s.url + "/")
	if status != http.StatusUnauthorized || !strings.Contains(body, "bin/ofitec console") || strings.Contains(body, "token") {
		t.Errorf("the page answers %d %s", status, body)
	}
	for _, path := range []string{"/api/stream", "/api/session", "/api/events/1"} {
		if status, body, _ := v.get(s.url + path); status != http.StatusUnauthorized || !strings.Contains(body, "ofitec console") {
			t.Errorf("%s answers %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/enter", "/enter?token=", "/enter?token=guess"} {
		if status, _, header := v.get(s.url + path); status != http.StatusUnauthorized || header.Get("Set-Cookie") != "" {
			t.Errorf("%s answers %d with cookie %q", path, status, header.Get("Set-Cookie"))
		}
	}
}

func TestALinkOpensOnceAndAnotherStandsReady(t *testing.T) {
	s := open(t)
	link := s.link(t)
	if info, err := os.Stat(s.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the link's file: %v, %v", info.Mode(), err)
	}
	first := newVisitor(t)
	if status, _, _ := first.do(http.MethodHead, link, nil, nil); status != http.StatusUnauthorized {
		t.Errorf("a preview's HEAD answers %d: it must not use the link up", status)
	}
	first.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	status, _, header := first.get(link)
	cookie := header.Get("Set-Cookie")
	if status != http.StatusSeeOther || header.Get("Location") != "/" {
		t.Errorf("the link answers %d to %q", status, header.Get("Location"))
	}
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie has no %s: it has %q", want, regexp.MustCompile(`=[^;]+`).ReplaceAllString(cookie, "=..."))
		}
	}
	if status, _, _ := first.get(s.url + "/"); status != http.StatusOK {
		t.Errorf("with the session the page answers %d", status)
	}
	if status, _, _ := newVisitor(t).get(link); status != http.StatusUnauthorized {
		t.Errorf("the used link answers %d", status)
	}
	next := s.link(t)
	if next == link {
		t.Fatal("the used link still stands in the file")
	}
	if status, _, _ := newVisitor(t).get(next); status != http.StatusOK {
		t.Errorf("the next link answers %d", status)
	}
}

func TestAnOperatorWhoRemovesTheLinkGetsAnotherAndTheFirstIsVoid(t *testing.T) {
	s := open(t)
	link := s.link(t)
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	next := s.link(t)
	if status, _, _ := newVisitor(t).get(link); status != http.StatusUnauthorized {
		t.Errorf("the removed link answers %d", status)
	}
	if status, _, _ := newVisitor(t).get(next); status != http.StatusOK {
		t.Errorf("the next link answers %d", status)
	}
}

func TestEverySideOfThePageKeepsToTheStrictPolicy(t *testing.T) {
	s := open(t)
	v := inside(t, s)
	for _, path := range []string{"/", "/assets/app.js", "/assets/style.css", "/api/session", "/enter"} {
		_, _, header := v.get(s.url + path)
		policy := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: no %s in %q", path, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, header)
		}
	}
	for _, name := range []string{"index.html", "closed.html"} {
		content, err := os.ReadFile(filepath.Join("assets", name))
		if err != nil {
			t.Fatal(err)
		}
		if inline := regexp.MustCompile(`<script>|<script [^>]*[^"]>[^<]|<style|\sstyle=|\son[a-z]+=`).FindString(string(content)); inline != "" {
			t.Errorf("%s has %q, which the policy forbids", name, inline)
		}
		if far := regexp.MustCompile(`(src|href)="(https?:)?//[^"]*"`).FindString(string(content)); far != "" {
			t.Errorf("%s loads %s: the page works without the internet", name, far)
		}
	}
}

func TestAHostThatIsNotThisMachineIsRefused(t *testing.T) {
	s := open(t)
	v := newVisitor(t)
	for host, want := range map[string]int{"console.example:8080": 421, "localhost:9999": 401, "127.0.0.1": 401, "[::1]:8080": 401} {
		if status, _, _ := v.do(http.MethodGet, s.url+"/", nil, map[string]string{"Host": host}); status != want {
			t.Errorf("host %s gets %d, want %d", host, status, want)
		}
	}
}

func TestOfOthersWorkTheRepositoryHasLicenceAndChecksum(t *testing.T) {
	sums, err := os.ReadFile("assets/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join("assets", name))
		if err != nil {
			t.Fatal(err)
		}
		have := sha256.Sum256(content)
		if hex.EncodeToString(have[:]) != sum {
			t.Errorf("%s is not the file that was committed: its SHA-256 is %x", name, have)
		}
		listed[name] = true
	}
	for _, name := range []string{"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"} {
		if !listed[name] {
			t.Errorf("SHA256SUMS does not list %s", name)
		}
	}
}

// hear reads events of the stream until one of a name comes, and gives the data of all that came.
func hear(t *testing.T, lines *bufio.Scanner, until string) map[string]string {
	t.Helper()
	got := map[string]string{}
	name := ""
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "event: "):
			name = strings.TrimPrefix(line, "event: ")
		case strings.HasPrefix(line, "data: "):
			got[name] = strings.TrimPrefix(line, "data: ")
			if name == until {
				return got
			}
		}
	}
	t.Fatalf("the stream ended before %s came: %v", until, lines.Err())
	return nil
}

func TestTheStreamBeginsWithEverythingAndThenTellsWhatChanges(t *testing.T) {
	s := open(t, boardtest.Day(time.Now())...)
	v := inside(t, s)
	v.Timeout = 0
	response, err := v.Get(s.url + "/api/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("content type %q", kind)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	all := hear(t, lines, "sources")
	for _, name := range []string{"hello", "writer", "regions", "failover", "credentials", "warehouse", "money", "events"} {
		if !json.Valid([]byte(all[name])) {
			t.Errorf("%s is %q", name, all[name])
		}
	}
	s.board.Apply(board.Answer{Region: "a", Reason: "connection refused"}, time.Now())
	s.publish(t)
	news := hear(t, lines, "regions")
	if len(news) != 1 || !strings.Contains(news["regions"], "connection refused") {
		t.Errorf("after a change came %v", news)
	}
}

func TestTheStreamsAreBounded(t *testing.T) {
	s := open(t, boardtest.Day(time.Now())...)
	v := inside(t, s)
	v.Timeout = 0
	refused := 0
	for range 26 {
		response, err := v.Get(s.url + "/api/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("of 26 streams %d were refused, want 2", refused)
	}
}

func TestAnEventOfTheListIsGivenAsItWasPublished(t *testing.T) {
	s := open(t, boardtest.Day(time.Now())...)
	v := inside(t, s)
	var list []board.Entry
	for _, entry := range board.Decide(s.board, time.Now()).Events {
		if entry.Type == "failover.completed" {
			list = append(list, entry)
		}
	}
	status, body, header := v.get(fmt.Sprintf("%s/api/events/%d", s.url, list[0].Sequence))
	event, err := events.Decode([]byte(body))
	if status != http.StatusOK || err != nil || event.Type != events.TypeFailoverCompleted || header.Get("Content-Type") != events.ContentType {
		t.Errorf("the event answers %d %s, %v", status, body, err)
	}
	for path, want := range map[string]int{"999999": 404, "first": 400} {
		if status, _, _ := v.get(s.url + "/api/events/" + path); status != want {
			t.Errorf("event %s answers %d, want %d", path, status, want)
		}
	}
}

// token is the page's proof that a request is its own; the stream gives it.
func (v visitor) token(s *site) string {
	v.t.Helper()
	v.Timeout = 0
	response, err := v.Get(s.url + "/api/stream")
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	var hello struct{ Token string }
	if err := json.Unmarshal([]byte(hear(v.t, lines, "hello")["hello"]), &hello); err != nil {
		v.t.Fatal(err)
	}
	return hello.Token
}

func TestACommandGoesOutWithWhoAskedForItAndWhy(t *testing.T) {
	s := open(t, boardtest.Day(time.Now())...)
	v := inside(t, s)
	header := map[string]string{"X-Ofitec-Token": v.token(s), "Content-Type": "application/json", "Origin": s.url}
	order := func(verb, body string) (int, string) {
		status, answer, _ := v.do(http.MethodPost, s.url+"/api/jobs/"+verb, bytes.NewBufferString(body), header)
		return status, answer
	}
	if status, answer := order("rotate", `{"name":"odoo-app","reason":" drill of the month "}`); status != http.StatusAccepted || !strings.Contains(answer, "console-") {
		t.Errorf("rotate answers %d %s", status, answer)
	}
	if status, answer := order("export", `{"name":"all","reason":"the auditor waits"}`); status != http.StatusAccepted {
		t.Errorf("export answers %d %s", status, answer)
	}
	if len(s.sent) != 2 {
		t.Fatalf("%d commands were sent, want 2", len(s.sent))
	}
	rotate, _ := s.sent[0].(events.JobRotate)
	if rotate.Name != "odoo-app" || rotate.Act.Reason != "drill of the month" || !strings.HasPrefix(rotate.Act.Actor, "operator (console session ") {
		t.Errorf("sent %+v", rotate)
	}
	for body, want := range map[string]string{`{"name":"odoo-app","reason":" "}`: "act.reason", `{"name":"a b","reason":"x"}`: "name", `{"nme":"x"}`: "nme", `[`: "read command"} {
		if status, answer := order("rotate", body); status < 400 || !strings.Contains(answer, want) {
			t.Errorf("%s answers %d %s, want a refusal that names %s", body, status, answer, want)
		}
	}
	if status, _ := order("purge", `{}`); status != http.StatusNotFound {
		t.Errorf("an unknown command answers %d", status)
	}
	s.fails = errors.New("no responders")
	if status, answer := order("rotate", `{"name":"odoo-app","reason":"again"}`); status != http.StatusBadGateway || !strings.Contains(answer, "no responders") {
		t.Errorf("without a bus the command answers %d %s", status, answer)
	}
}

func TestACommandThatDoesNotComeFromThePageIsRefused(t *testing.T) {
	s := open(t)
	v := inside(t, s)
	token := v.token(s)
	for name, header := range map[string]map[string]string{
		"no token":      {"Origin": s.url},
		"a wrong token": {"X-Ofitec-Token": "guess", "Origin": s.url},
		"another site":  {"X-Ofitec-Token": token, "Origin": "https://evil.example"},
		"a cross fetch": {"X-Ofitec-Token": token, "Sec-Fetch-Site": "cross-site"},
	} {
		body := bytes.NewBufferString(`{"name":"odoo-app","reason":"trust me"}`)
		if status, _, _ := v.do(http.MethodPost, s.url+"/api/jobs/rotate", body, header); status != http.StatusForbidden {
			t.Errorf("%s gets %d, want 403", name, status)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %v", s.sent)
	}
}

func TestLeavingEndsTheSession(t *testing.T) {
	s := open(t)
	v := inside(t, s)
	header := map[string]string{"X-Ofitec-Token": v.token(s), "Origin": s.url}
	if status, _, _ := v.do(http.MethodPost, s.url+"/api/leave", nil, header); status != http.StatusNoContent {
		t.Errorf("leave answers %d", status)
	}
	if status, _, _ := v.get(s.url + "/api/session"); status != http.StatusUnauthorized {
		t.Errorf("after leaving the session answers %d", status)
	}
}
