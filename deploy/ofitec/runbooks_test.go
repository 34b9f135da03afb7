package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// command matches `ofitec ...` up to the end of the line or of what quotes it; a comment behind it is not part of it.
var command = regexp.MustCompile("(?:^|[`$ ])(?:bin/)?ofitec ((?:[a-z-]+)(?: [^`#\n;|.]*)?)")

// commandLines are the command lines that a page names: those in code, in backticks or in blocks.
func commandLines(page string) (lines []string) {
	inBlock := false
	code := regexp.MustCompile("`[^`]+`")
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			inBlock = !inBlock
			continue
		}
		parts := code.FindAllString(line, -1)
		if inBlock {
			parts = []string{line}
		}
		for _, part := range parts {
			for _, found := range command.FindAllStringSubmatch(strings.Trim(part, "`"), -1) {
				lines = append(lines, strings.TrimSpace(found[1]))
			}
		}
	}
	return lines
}

// wrongWith says why a command line cannot be typed; empty when it can.
func wrongWith(line string) string {
	words := strings.Fields(line)
	found, rest, err := newRoot().Find(words)
	if err != nil {
		return err.Error()
	}
	if found == nil || found.Name() == "ofitec" {
		return "there is no such command"
	}
	if len(found.Commands()) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return found.CommandPath() + " has no command " + rest[0]
	}
	for _, word := range rest {
		if name, is := strings.CutPrefix(word, "--"); is {
			name, _, _ = strings.Cut(name, "=")
			if found.Flags().Lookup(name) == nil && found.InheritedFlags().Lookup(name) == nil {
				return found.CommandPath() + " has no flag --" + name
			}
		}
	}
	return ""
}

func TestEachCommandOfTheRunbooksExists(t *testing.T) {
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("found %v, %v", pages, err)
	}
	for _, page := range pages {
		lines := commandLines(text(t, page))
		if len(lines) < 5 {
			t.Errorf("%s: %d commands only: the reading is wrong", page, len(lines))
		}
		for _, line := range lines {
			if why := wrongWith(line); why != "" {
				t.Errorf("%s: ofitec %s: %s", filepath.Base(page), line, why)
			}
		}
	}
	for _, line := range []string{"failover promote b", "credentials mint odoo-app", "etl reindex", "nonsense", "failover pause --forever"} {
		if wrongWith(line) == "" {
			t.Errorf("ofitec %s is taken for a command", line)
		}
	}
}

func TestTheCommandsThatTheAlertsNameExist(t *testing.T) {
	checked := 0
	for line := range strings.Lines(text(t, alertsFile)) {
		_, description, is := strings.Cut(line, "description: ")
		if !is {
			continue
		}
		for _, found := range regexp.MustCompile(`ofitec ((?:status|doctor|failover|credentials|etl|events|drill|up|down)\b[^,;.:)]*)`).FindAllStringSubmatch(description, -1) {
			words := strings.Fields(found[1])
			if _, _, err := newRoot().Find(words); err != nil {
				t.Errorf("ofitec %s: %v", found[1], err)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("checked %d commands only: the reading is wrong", checked)
	}
}

// link matches [text](page#heading), where either may be missing.
var link = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)

func TestEachRunbookHasTheSameSituationsInSpanish(t *testing.T) {
	for _, name := range []string{"failover", "credentials", "warehouse"} {
		english, spanish := text(t, "../../docs/runbooks/"+name+".md"), text(t, "../../docs/runbooks/"+name+".es.md")
		if a, b := len(anchors(english)), len(anchors(spanish)); a != b || a < 4 {
			t.Errorf("%s has %d situations in English and %d in Spanish", name, a, b)
		}
		if a, b := commandLines(english), commandLines(spanish); len(a) != len(b) {
			t.Errorf("%s names %d commands in English and %d in Spanish", name, len(a), len(b))
		}
		for _, page := range []string{english, spanish} {
			for _, target := range link.FindAllStringSubmatch(page, -1) {
				leadsTo := page
				if target[1] != "" {
					leadsTo = text(t, filepath.Join("../../docs/runbooks", target[1]))
				}
				if target[2] != "" && !anchors(leadsTo)[target[2]] {
					t.Errorf("%s: %s leads to no heading", name, target[0])
				}
			}
		}
	}
}

// The tree is walked, so that a command that is only found by accident of its name is none.
func TestEveryLeafOfTheCommandTreeRuns(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if len(c.Commands()) == 0 && c.RunE == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
