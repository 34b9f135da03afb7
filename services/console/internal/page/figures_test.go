package page_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

func TestTheProjectsFiguresAreAFileInTheLanguagesOwnForm(t *testing.T) {
	s := open(t)
	text := func(v string) *string { return &v }
	s.figures = []board.Figure{
		{Project: 42, Name: text("Torre; norte, 2"), Month: "2026-02-28", Published: [8]*string{text("1234567890123456.78"), text("-5.00"), text("0.250000")}},
		{Project: 43, Name: text(" =HYPERLINK(1)"), Month: "2026-03-31", Open: true},
		{Project: 44, Name: text("@x"), Month: "2026-03-31"},
	}
	v := inside(t, s)
	for lang, want := range map[string][]string{
		"es": {`Proyecto;Nombre;Mes;`, `42;"Torre; norte, 2";2026-02-28;sí;1234567890123456,78;-5,00;0,250000;;;;;`, `43;' =HYPERLINK(1);2026-03-31;no;`, `44;'@x;`},
		"en": {`Project,Name,Month,`, `42,"Torre; norte, 2",2026-02-28,yes,1234567890123456.78,-5.00,0.250000,,,,,`, `43,' =HYPERLINK(1),2026-03-31,no,`, `44,'@x,`},
	} {
		status, body, header := v.get(s.url + "/api/figures.csv?project=42&from=2026-02&to=2026-03&lang=" + lang)
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") {
			t.Fatalf("%s: %d %s", lang, status, body)
		}
		lines := strings.Split(body, "\n")
		for n, start := range want {
			if !strings.HasPrefix(lines[n], start) {
				t.Errorf("%s, line %d: %s, want %s", lang, n, lines[n], start)
			}
		}
	}
	if f := s.filter; f.Project == nil || *f.Project != 42 || f.From.Format(time.DateOnly) != "2026-02-01" || f.To.Format(time.DateOnly) != "2026-03-01" {
		t.Errorf("asked with %+v", f)
	}
}

func TestAFilterThatCannotBeReadIsNamedWithItsValue(t *testing.T) {
	s := open(t)
	v := inside(t, s)
	for query, want := range map[string]string{
		"lang=fr":                         `lang \"fr\"`,
		"lang=es&project=Torre":           `project \"Torre\"`,
		"lang=es&project=-1":              `project \"-1\"`,
		"lang=es&from=2026-13":            `from \"2026-13\"`,
		"lang=es&to=hoy":                  `to \"hoy\"`,
		"lang=es&from=2026-03&to=2026-02": `to \"2026-02\"`,
	} {
		if status, body, _ := v.get(s.url + "/api/figures.csv?" + query); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	s.fails = errors.New("not published yet")
	if status, body, _ := v.get(s.url + "/api/figures.csv?lang=es"); status != http.StatusBadGateway || !strings.Contains(body, "not published") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := newVisitor(t).get(s.url + "/api/figures.csv?lang=es"); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
}
