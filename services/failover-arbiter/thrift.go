package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// collectAt lets the heap grow by so many percent between two collections: some megabytes.
const collectAt = 200

// thrifty keeps what an idle arbiter takes of a core down. It is woken some hundred times a second for microseconds each; with several threads Go wakes another one each time to
// look for more work, which costs more than the work. What waits for a disk or the network holds up nobody: the runtime gives its turn away.
func thrifty() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
