package main

import (
	"os"
	"runtime/debug"
)

// collectAt lets the heap grow by so many percent between two collections: some megabytes.
const collectAt = 200

// thrifty keeps what an idle arbiter takes of a core down. The threads stay as many as Go wants: one alone took a seventh less (0.63 % of a core against 0.73, three minutes of
// TestAtRestItTakesNextToNothing side by side), but a page that a slow disk has to bring then holds up everything, for a second and the proxy closes the region.
func thrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
