package page

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

// Accountant reads the published numbers.
type Accountant interface {
	Figures(ctx context.Context, filter board.FigureFilter) ([]board.Figure, error)
	Kpis(ctx context.Context, filter board.FigureFilter) (board.Kpis, error)
	Ledger(ctx context.Context, filter board.LedgerFilter) (board.Ledger, error)
}

// tongue is how a language's spreadsheets read a file.
type tongue struct {
	comma         rune
	decimal       string
	head          []string
	open, elapsed string
}

var tongues = map[string]tongue{
	"en": {',', ".", []string{"Project", "Name", "Month", "Month is over", "Revenue", "Direct cost", "Gross margin", "Revenue to date", "Direct cost to date", "Earned revenue", "Backlog", "WIP"}, "no", "yes"},
	"es": {';', ",", []string{"Proyecto", "Nombre", "Mes", "Mes terminado", "Ingresos", "Costo directo", "Margen bruto", "Ingresos a la fecha", "Costo directo a la fecha", "Ingreso devengado", "Cartera por ejecutar", "WIP"}, "no", "sí"},
}

// kpis sends what the plots show.
func (p *Page) kpis(w http.ResponseWriter, r *http.Request, _ session) {
	filter, err := board.ParseFigureFilter(r.URL.Query())
	if err != nil {
		p.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	told, err := p.Numbers.Kpis(r.Context(), filter)
	if err != nil {
		p.Log.WarnContext(r.Context(), "KPIs were not read", "error", err)
		p.fail(w, http.StatusBadGateway, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(told) // the caller has gone when this fails
}

// figures sends the projects' KPIs as a file. All is read before the first byte leaves: a file that stops in the middle looks whole.
func (p *Page) figures(w http.ResponseWriter, r *http.Request, _ session) {
	query := r.URL.Query()
	speech, known := tongues[query.Get("lang")]
	if !known {
		p.fail(w, http.StatusBadRequest, "lang "+strconv.Quote(query.Get("lang"))+": want es or en")
		return
	}
	filter, err := board.ParseFigureFilter(query)
	if err != nil {
		p.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	rows, err := p.Numbers.Figures(r.Context(), filter)
	if err != nil {
		p.Log.WarnContext(r.Context(), "figures were not read", "error", err)
		p.fail(w, http.StatusBadGateway, err.Error())
		return
	}
	out := speech.file(w, "ofitec-kpi.csv", speech.head)
	for _, f := range rows {
		_ = out.Write(speech.line(f))
	}
	out.Flush()
}

func (s tongue) line(f board.Figure) []string {
	name, over := "", s.elapsed
	if f.Name != nil {
		name = inert(*f.Name)
	}
	if f.Open {
		over = s.open
	}
	line := []string{strconv.FormatInt(f.Project, 10), name, f.Month, over}
	for _, amount := range f.Published {
		line = append(line, s.amount(amount))
	}
	return line
}

// inert keeps a spreadsheet from taking a text for a formula.
func inert(text string) string {
	if start := strings.TrimLeft(text, " "); start != "" && strings.ContainsRune("=+-@\t\r\n", rune(start[0])) {
		return "'" + text
	}
	return text
}
