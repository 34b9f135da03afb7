package main

import (
	"strings"
	"testing"
)

func TestArgumentsAreReadOrNamed(t *testing.T) {
	for line, want := range map[string]struct {
		single      bool
		connections int
		problem     string
	}{
		"":                           {},
		"--once":                     {single: true},
		"--once --max-connections 4": {single: true, connections: 4},
		"--max-connections=2":        {connections: 2},
		"--max-connections":          {problem: "want a number"},
		"--max-connections 0":        {problem: `"0": want a number, 1 or more`},
		"--max-connections many":     {problem: `"many"`},
		"--twice":                    {problem: `unknown argument "--twice"`},
	} {
		single, connections, err := arguments(strings.Fields(line))
		switch {
		case want.problem != "":
			if err == nil || !strings.Contains(err.Error(), want.problem) {
				t.Errorf("%q: %v", line, err)
			}
		case err != nil || single != want.single || connections != want.connections:
			t.Errorf("%q: %v %d %v", line, single, connections, err)
		}
	}
}
