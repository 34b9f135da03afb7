package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	variable    = regexp.MustCompile(`\$\{([a-z_]+)(?::[a-z]+)?\}`)
	environment = regexp.MustCompile(`\$\{(OFITEC_[A-Z_]+)\}`)
	tag         = regexp.MustCompile(`\{\{ ?([a-z_]+) ?\}\}`)
)

// What Grafana and Metabase would refuse, or show nothing of, without an error: names that lead nowhere, panels that lie on one another, two of one id.
func TestTheDashboardsFitTheirProvisioning(t *testing.T) {
	var source string
	for _, file := range []string{"datasources", "dashboards"} {
		content, err := os.ReadFile("../../deploy/grafana/provisioning/" + file + "/ofitec.yml")
		if err != nil {
			t.Fatal(err)
		}
		source += string(content)
	}
	readme, err := os.ReadFile("../../deploy/grafana/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range environment.FindAllStringSubmatch(source, -1) {
		if !strings.Contains(string(readme), "`"+name[1]+"`") {
			t.Errorf("the README does not say what %s is", name[1])
		}
	}
	boards := map[string]bool{}
	for _, file := range dashboards(t) {
		var board struct {
			UID, Title string
			Templating struct{ List []struct{ Name string } }
			Panels     []struct {
				ID      int
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ RawSQL, Format string }
			}
		}
		read(t, file, &board)
		if boards[board.UID] || board.UID == "" {
			t.Errorf("%s: uid %q is missing or another dashboard's", file, board.UID)
		}
		boards[board.UID] = true
		var all any
		read(t, file, &all)
		if n := sources(all, func(kind, uid string) {
			if uid != "-- Grafana --" && (!strings.Contains(source, "uid: "+uid+"\n") || !strings.Contains(source, "type: "+kind+"\n")) {
				t.Errorf("%s: data source %s of type %s is not provisioned", file, uid, kind)
			}
		}); n < len(board.Panels) {
			t.Errorf("%s names %d data sources for %d panels", file, n, len(board.Panels))
		}
		taken, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range board.Panels {
			where := board.Title + ", " + p.Title
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: id %d is missing or another panel's", where, p.ID)
			}
			ids[p.ID] = true
			if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
				t.Errorf("%s: %+v is not on a grid of 24 columns", where, p.GridPos)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s lies on %s", where, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			for _, target := range p.Targets {
				if !slices.Contains([]string{"table", "time_series"}, target.Format) {
					t.Errorf("%s: format %q: want table or time_series", where, target.Format)
				}
				for _, used := range variable.FindAllStringSubmatch(target.RawSQL, -1) {
					if !slices.ContainsFunc(board.Templating.List, func(v struct{ Name string }) bool { return v.Name == used[1] }) {
						t.Errorf("%s: there is no variable %s", where, used[1])
					}
				}
			}
		}
	}
}

// sources finds all data sources that a dashboard names, and says how many.
func sources(part any, found func(kind, uid string)) (n int) {
	switch part := part.(type) {
	case []any:
		for _, p := range part {
			n += sources(p, found)
		}
	case map[string]any:
		for name, p := range part {
			if named, is := p.(map[string]any); is && name == "datasource" {
				kind, _ := named["type"].(string)
				uid, _ := named["uid"].(string)
				found(kind, uid)
				n++
				continue
			}
			n += sources(p, found)
		}
	}
	return n
}

func TestTheQuestionsHaveTheFormThatMetabaseTakes(t *testing.T) {
	var cards []struct {
		Name, Display string
		DatasetQuery  struct {
			Type   string
			Native struct {
				Query string
				Tags  map[string]struct {
					ID, Name, Type string
					DisplayName    string `json:"display-name"`
				} `json:"template-tags"`
			}
		} `json:"dataset_query"`
		Visualization map[string]any `json:"visualization_settings"`
	}
	read(t, "../../deploy/metabase/questions.json", &cards)
	var collection struct{ Name, Description string }
	read(t, "../../deploy/metabase/collection.json", &collection)
	if collection.Name == "" || len(cards) == 0 {
		t.Fatalf("collection %q has %d questions", collection.Name, len(cards))
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for _, c := range cards {
		if names[c.Name] || c.Name == "" {
			t.Errorf("question %q is there twice or has no name", c.Name)
		}
		names[c.Name] = true
		if c.DatasetQuery.Type != "native" || c.Visualization == nil || !slices.Contains([]string{"table", "line", "bar", "area", "scalar"}, c.Display) {
			t.Errorf("%s: display %q, type %q, settings %v", c.Name, c.Display, c.DatasetQuery.Type, c.Visualization)
		}
		used := map[string]bool{}
		for _, found := range tag.FindAllStringSubmatch(c.DatasetQuery.Native.Query, -1) {
			used[found[1]] = true
			if _, declared := c.DatasetQuery.Native.Tags[found[1]]; !declared {
				t.Errorf("%s: {{%s}} is not declared", c.Name, found[1])
			}
		}
		for name, declared := range c.DatasetQuery.Native.Tags {
			if !used[name] || declared.Name != name || declared.DisplayName == "" || declared.Type == "" || len(declared.ID) != 36 || ids[declared.ID] {
				t.Errorf("%s: tag %s is not used, or is %+v", c.Name, name, declared)
			}
			ids[declared.ID] = true
		}
		for _, key := range []string{"graph.dimensions", "graph.metrics"} {
			columns, _ := c.Visualization[key].([]any)
			if len(columns) == 0 && c.Display != "table" {
				t.Errorf("%s: a %s has no %s", c.Name, c.Display, key)
			}
			for _, column := range columns {
				if name, _ := column.(string); !strings.Contains(c.DatasetQuery.Native.Query, name) {
					t.Errorf("%s: no column %q is asked for", c.Name, column)
				}
			}
		}
	}
}
