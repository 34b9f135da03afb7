package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const alertsFile = "../prometheus/rules/ofitec.alerts.yml"

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var (
	registered = regexp.MustCompile(`\br(?:egistry)?\.(?:Counter|CounterVec|Gauge|GaugeVec|HistogramVec|Name)\("(\w+)".*`)
	described  = regexp.MustCompile(`NewDesc\(prefix\+"(\w+)".*`)
	shared     = regexp.MustCompile(`Name: "(ofitec_\w+)".*`)
	recorded   = regexp.MustCompile(`record: (\S+)`)
	// exported matches a query of the exporter and a metric of it; its series are named <query>_<metric>.
	exported = regexp.MustCompile(`(?m)^(\w+):$|^    - (\w+):$`)
)

// series are the names that a region's Prometheus can know, each with the line of the source that registers it; its labels stand there.
func series(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{"up": "Prometheus itself"}
	files, err := filepath.Glob("../../services/*/metrics.go")
	if err != nil || len(files) < 7 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		prefix := "ofitec_" + strings.ReplaceAll(filepath.Base(filepath.Dir(file)), "-", "_") + "_"
		source := text(t, file)
		for _, found := range append(registered.FindAllStringSubmatch(source, -1), described.FindAllStringSubmatch(source, -1)...) {
			known[prefix+found[1]] = found[0]
		}
	}
	for _, file := range []string{"../../events/bus/metrics.go", "../../chassis/natsclient/natsclient.go", "../../chassis/metrics/metrics.go", "../../chassis/vault/serves.go"} {
		for _, found := range shared.FindAllStringSubmatch(text(t, file), -1) {
			known[found[1]] = found[0]
		}
	}
	for _, found := range recorded.FindAllStringSubmatch(text(t, "../prometheus/rules/ofitec.rules.yml.tmpl"), -1) {
		known[found[1]] = found[0]
	}
	query := ""
	for _, found := range exported.FindAllStringSubmatch(text(t, "../prometheus/postgres-exporter-queries.yaml"), -1) {
		if found[1] != "" {
			query = found[1]
			continue
		}
		known[query+"_"+found[2]] = found[0]
	}
	return known
}

var named = regexp.MustCompile(`\b(ofitec_[a-z_]+|pg_[a-z_]+|up\b|[a-z]+:\w+)`)

// expressions are what the rules of a file compute: the expr lines, and the lines of those that go over several.
func expressions(file string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(file) {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "expr:"):
			inside = strings.HasSuffix(trimmed, "|")
			out.WriteString(strings.TrimPrefix(trimmed, "expr:") + "\n")
		case inside && strings.HasPrefix(line, strings.Repeat(" ", 10)):
			out.WriteString(line)
		default:
			inside = false
		}
	}
	return out.String()
}

func TestNoRuleRestsOnASeriesThatNobodyRegisters(t *testing.T) {
	known := series(t)
	for _, file := range []string{alertsFile, "../prometheus/rules/ofitec.rules.yml.tmpl"} {
		checked := 0
		for _, found := range named.FindAllString(expressions(text(t, file)), -1) {
			checked++
			if known[found] == "" {
				t.Errorf("%s: nobody registers %s", file, found)
			}
		}
		if checked < 10 {
			t.Errorf("%s: %d series only: the reading is wrong", file, checked)
		}
	}
	for _, invented := range []string{"ofitec_failover_arbiter_is_sad", "ofitec_heartbeat", "ofitec_rotator_fresh_observers"} {
		if known[invented] != "" {
			t.Errorf("%s is taken for known", invented)
		}
	}
}

func TestNoAlertAsksForALabelThatItsSeriesHasNot(t *testing.T) {
	known, checked := series(t), 0
	for _, found := range regexp.MustCompile(`(\w+)\{([^}]*)\}`).FindAllStringSubmatch(expressions(text(t, alertsFile)), -1) {
		for _, label := range regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`).FindAllStringSubmatch(found[2], -1) {
			checked++
			if label[1] != "job" && !strings.Contains(known[found[1]], `"`+label[1]+`"`) {
				t.Errorf("%s has no label %s, as it is registered: %s", found[1], label[1], known[found[1]])
			}
		}
	}
	if checked < 10 {
		t.Errorf("checked %d labels only: the reading is wrong", checked)
	}
}

func TestEachAlertSaysWhatToDoAndLeadsToItsPage(t *testing.T) {
	pageOf := regexp.MustCompile(`runbook_url: https://github.com/ofitec/ofitec/blob/main/(docs/runbooks/\w+\.md)#(\S+)`)
	alerts := strings.Split(text(t, alertsFile), "- alert: ")[1:]
	if len(alerts) < 20 {
		t.Fatalf("read %d alerts only: the reading is wrong", len(alerts))
	}
	for _, alert := range alerts {
		name, body, _ := strings.Cut(alert, "\n")
		for _, part := range []string{"summary: ", "description: ", "Way out: ", "severity: "} {
			if !strings.Contains(body, part) {
				t.Errorf("%s has no %q", name, part)
			}
		}
		page := pageOf.FindStringSubmatch(body)
		if page == nil {
			t.Errorf("%s leads to no page of docs/runbooks", name)
			continue
		}
		if !anchors(text(t, filepath.Join("../..", page[1])))[page[2]] {
			t.Errorf("%s: %s has no heading #%s", name, page[1], page[2])
		}
	}
}

// anchors are the links to a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	drop := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	all := map[string]bool{}
	for line := range strings.Lines(page) {
		if title, is := strings.CutPrefix(strings.TrimSpace(line), "## "); is {
			all[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(title), ""), " ", "-")] = true
		}
	}
	return all
}
