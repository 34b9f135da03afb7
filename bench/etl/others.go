package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// jiffy is what /proc/stat counts in.
const jiffy = 10 * time.Millisecond

// othersFrom begins to measure how many processors the rest of the machine takes beside this process and one that it starts. A ratio of two rates says little when that differs between the two, or
// when there is nothing left to do a part of the work beside the rest: curl needs one processor and the server's, an ingest also those that compress.
func othersFrom(begun time.Time) (end func(child *os.ProcessState) (took time.Duration, processors float64)) {
	all, ours := busy(), own()
	return func(child *os.ProcessState) (time.Duration, float64) {
		took := time.Since(begun)
		rest := busy() - all - (own() - ours) - child.UserTime() - child.SystemTime()
		return took, max(rest.Seconds()/took.Seconds(), 0)
	}
}

// busy is the time that all processors together have not been idle; zero where that cannot be read.
func busy() time.Duration {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(content, []byte{'\n'})
	var sum int64
	for n, field := range bytes.Fields(line) {
		const idle, wait = 4, 5 // after the name
		if n == 0 || n == idle || n == wait || n > 8 {
			continue
		}
		jiffies, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0
		}
		sum += jiffies
	}
	return time.Duration(sum) * jiffy
}

// own is what this process has taken.
func own() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
