package page

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

// mostDocuments is how many of a month the page lists; the file has all.
const mostDocuments = 500

var documentHeads = map[string][]string{
	"en": {"Month", "Project", "Date", "Kind", "Number", "Client or category", "Amount", "Currency", "Counted"},
	"es": {"Mes", "Proyecto", "Fecha", "Tipo", "Número", "Cliente o categoría", "Monto", "Moneda", "Contado"},
}

var kinds = map[string]map[string]string{
	"en": {"invoice": "invoice", "credit_note": "credit note", "cost": "cost", "late": "late", "changed": "changed", "gone": "gone"},
	"es": {"invoice": "factura", "credit_note": "nota de crédito", "cost": "costo", "late": "tardío", "changed": "cambiado", "gone": "ya no está"},
}

var closedHeads = map[string][]string{
	"en": {"Month", "Project", "Figure or document", "What", "As reported", "As restated", "Difference"},
	"es": {"Mes", "Proyecto", "Cifra o documento", "Qué", "Informado", "Reexpresado", "Diferencia"},
}

// ledger sends what a month's figures are made of.
func (p *Page) ledger(w http.ResponseWriter, r *http.Request, _ session) {
	told, known := p.askLedger(w, r, mostDocuments)
	if !known {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(told) // the caller has gone when this fails
}

// askLedger answers by itself when it has nothing.
func (p *Page) askLedger(w http.ResponseWriter, r *http.Request, most int) (board.Ledger, bool) {
	filter, err := board.ParseLedgerFilter(r.URL.Query())
	if err != nil {
		p.fail(w, http.StatusBadRequest, err.Error())
		return board.Ledger{}, false
	}
	filter.Most = most
	told, err := p.Numbers.Ledger(r.Context(), filter)
	if err != nil {
		p.Log.WarnContext(r.Context(), "a month's documents were not read", "error", err)
		p.fail(w, http.StatusBadGateway, err.Error())
		return board.Ledger{}, false
	}
	return told, true
}

// documents sends a project's month as a file, all of it.
func (p *Page) documents(w http.ResponseWriter, r *http.Request, _ session) {
	language := r.URL.Query().Get("lang")
	speech, known := tongues[language]
	if !known {
		p.fail(w, http.StatusBadRequest, "lang "+strconv.Quote(language)+": want es or en")
		return
	}
	project := r.URL.Query().Get("project")
	if project == "" {
		p.fail(w, http.StatusBadRequest, `project "": want a project's number in Odoo, such as 42, or 0 for the unknown one`)
		return
	}
	told, known := p.askLedger(w, r, 0)
	if !known {
		return
	}
	out := speech.file(w, "ofitec-documents.csv", documentHeads[language])
	for _, d := range told.Documents {
		about := ""
		if d.About != nil {
			about = inert(*d.About)
		}
		_ = out.Write([]string{told.Month, project, d.Date, kinds[language][d.Kind], strconv.FormatInt(d.Number, 10), about, speech.amount(d.Amount), inert(d.Currency), speech.amount(d.Counted)})
	}
	out.Flush()
}

// closed sends what was reported of a closed month beside what is said now, and the documents that make the difference.
func (p *Page) closed(w http.ResponseWriter, r *http.Request, _ session) {
	language := r.URL.Query().Get("lang")
	speech, known := tongues[language]
	if !known {
		p.fail(w, http.StatusBadRequest, "lang "+strconv.Quote(language)+": want es or en")
		return
	}
	told, known := p.askLedger(w, r, 1)
	if !known {
		return
	}
	if told.Closed == nil {
		p.fail(w, http.StatusNotFound, "month "+strconv.Quote(r.URL.Query().Get("month"))+" is not closed: ofitec etl close freezes what was reported")
		return
	}
	out := speech.file(w, "ofitec-closed.csv", closedHeads[language])
	for _, f := range told.Closed.Figures {
		_ = out.Write([]string{told.Month, r.URL.Query().Get("project"), f.Measure, "", speech.amount(f.Reported), speech.amount(f.Now), speech.amount(f.Difference)})
	}
	for _, d := range told.Closed.Documents {
		project := ""
		if d.Project != nil {
			project = strconv.FormatInt(*d.Project, 10)
		}
		_ = out.Write([]string{told.Month, project, d.Dataset + " " + d.Document, kinds[language][d.What], speech.amount(d.Reported), speech.amount(d.Now), ""})
	}
	out.Flush()
}

// file begins one, with its head.
func (s tongue) file(w http.ResponseWriter, name string, head []string) *csv.Writer {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	out := csv.NewWriter(w)
	out.Comma = s.comma
	_ = out.Write(head) // the caller has gone when this fails, here and wherever a line follows
	return out
}

// amount writes a number as the language's spreadsheets read it; nothing for what is unknown.
func (s tongue) amount(text *string) string {
	if text == nil {
		return ""
	}
	return strings.Replace(*text, ".", s.decimal, 1)
}
