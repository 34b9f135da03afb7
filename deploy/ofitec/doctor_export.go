package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/models"
)

// Verdicts on a part of the export contract.
const (
	verdictOK       = "ok"
	verdictDegraded = "degraded" // worked with, in the way that is said
	verdictRefused  = "refused"  // etl-ingest does not read it like that
	verdictSkipped  = "skipped"  // the server does not offer it, or there is nothing to see it by
)

// exportRemark is what was found out about one part of the contract.
type exportRemark struct {
	Dataset string `json:"dataset"`
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
}

func newDoctorExport() *cobra.Command {
	var e exportDoctor
	var tokenFile, folder string
	command := &cobra.Command{
		Use: "export URL", Short: "Check a server against the export contract (docs/odoo.md): what is kept, what is worked around and how, what is refused",
		Long: "Check a server against the export contract (docs/odoo.md).\n\nIt asks each dataset for small pages and compares them with one another: order, since, after_id, limit, formats, ids, summary, clock, and that the export\n" +
			"cannot be written to. It only reads. Status 0: etl-ingest reads this server, if need be in the degraded ways that are said; 1: it refuses something, or there is no dataset.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return wrongUse{errors.New("want one URL, such as https://erp.example")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			if err := e.prepare(args[0], tokenFile, folder); err != nil {
				return err
			}
			remarks := e.examine(cmd.Context())
			if inJSON {
				err = writeJSON(cmd.OutOrStdout(), map[string]any{"url": e.base, "remarks": remarks})
			} else {
				err = printRemarks(cmd.OutOrStdout(), remarks)
			}
			if err == nil && !usable(remarks) {
				return &failed{}
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&tokenFile, "token-file", "", "file with the bearer token of the export")
	flags.StringVar(&folder, "models", "", "folder of models over the built-in ones")
	flags.StringVar(&e.only, "dataset", "", "one dataset; all when empty")
	flags.DurationVar(&e.timeout, "timeout", 30*time.Second, "how long one answer may take")
	outputFlag(command)
	return command
}

// exportDoctor examines one server.
type exportDoctor struct {
	base     string
	token    string
	only     string
	timeout  time.Duration
	datasets []models.Dataset
	http     *http.Client
	remarks  []exportRemark
}

func (e *exportDoctor) prepare(base, tokenFile, folder string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return wrongUse{fmt.Errorf("URL %q: must be as https://erp.example, without user or query; /of/export/<dataset> is added", base)}
	}
	if e.timeout <= 0 {
		return wrongUse{fmt.Errorf("--timeout %s: must be more than 0", e.timeout)}
	}
	e.base = strings.TrimRight(base, "/")
	if tokenFile != "" {
		content, err := os.ReadFile(tokenFile)
		if err != nil {
			return wrongUse{fmt.Errorf("--token-file: %w", err)}
		}
		e.token = strings.TrimSpace(string(content))
	}
	m, err := models.Open(folder)
	if err != nil {
		return fmt.Errorf("read --models: %w", err)
	}
	e.datasets = m.Datasets()
	if e.only != "" {
		d, found := m.Dataset(e.only)
		if !found {
			return wrongUse{fmt.Errorf("--dataset %q: is not in the models", e.only)}
		}
		e.datasets = []models.Dataset{d}
	}
	// A redirection would carry the token elsewhere; etl-ingest does not follow one either.
	e.http = &http.Client{Timeout: e.timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

// examine looks at each dataset; one that cannot be read does not keep the others from being looked at.
func (e *exportDoctor) examine(ctx context.Context) []exportRemark {
	e.remarks = []exportRemark{}
	for _, d := range e.datasets {
		v := &exportVisit{exportDoctor: e, dataset: d}
		if err := v.run(ctx); err != nil {
			v.say("pages", verdictRefused, "%s", err)
		}
	}
	return e.remarks
}

// usable says that at least one dataset is offered and none is refused.
func usable(remarks []exportRemark) bool {
	read := false
	for _, r := range remarks {
		if r.Verdict == verdictRefused {
			return false
		}
		read = read || r.Check == "pages" && r.Verdict != verdictSkipped
	}
	return read
}

func printRemarks(w io.Writer, remarks []exportRemark) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	count := map[string]int{}
	for _, r := range remarks {
		count[r.Verdict]++
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Dataset, r.Check, r.Verdict, r.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	end := "etl-ingest reads this server"
	if !usable(remarks) {
		end = "etl-ingest does not read this server as it is (docs/odoo.md has the contract)"
	}
	_, err := fmt.Fprintf(w, "%d ok, %d degraded, %d refused, %d skipped: %s\n", count[verdictOK], count[verdictDegraded], count[verdictRefused], count[verdictSkipped], end)
	return err
}
