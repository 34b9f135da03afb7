package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine says on what is measured, and with which versions.
func machine(out io.Writer) {
	fmt.Fprintf(out, "machine  %s, %d cores, %s/%s, %s\n", cpu(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Fprintf(out, "load     %s (a busy machine spoils absolute numbers; use the ratios)\n", strings.Join(strings.Fields(string(load))[:3], " "))
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			switch module.Path {
			case "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "github.com/cloudevents/sdk-go/v2":
				fmt.Fprintf(out, "with     %s %s\n", module.Path, module.Version)
			}
		}
	}
}

func cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
