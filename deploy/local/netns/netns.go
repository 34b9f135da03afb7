// Package netns gives each region a network namespace of its own, joined by a bridge, so that a drill can cut what two regions say to each other.
// On loopback that is not possible: a connection to 127.0.0.11 leaves from 127.0.0.1.
package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

const (
	bridge = "ofitec0"
	prefix = "/24"
)

// Path is the file by which a process enters a region's namespace.
func Path(r layout.Region) string { return filepath.Join("/run/netns", name(r)) }

func name(r layout.Region) string { return "ofitec-" + string(r) + nested }

// nested tells apart the namespaces of a stack that runs in a network namespace itself: their names are the machine's, unlike bridge and cables. It is taken
// before any thread enters another namespace.
var nested = nestedIn("/proc/self/ns/net", "/proc/1/ns/net")

func nestedIn(own, first string) string {
	here, err := os.Readlink(own)
	outermost, other := os.Readlink(first)
	if err != nil || other != nil || here == outermost {
		return ""
	}
	return "-" + strings.Trim(strings.TrimPrefix(here, "net:"), "[]")
}

// Device is a region's end of its cable on the bridge's side.
func Device(r layout.Region) string { return "ofitec-" + string(r) + "0" }

// Setup makes the bridge and the namespaces anew: whatever an earlier run has left is removed first. It needs root.
func Setup(ctx context.Context, addressing layout.Addressing) error {
	if os.Geteuid() != 0 {
		return errors.New("--netns needs root: a network namespace cannot be made without")
	}
	Remove(ctx)
	commands := [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"addr", "add", addressing.Outside + prefix, "dev", bridge},
		{"link", "set", bridge, "up"},
	}
	for _, r := range layout.Regions {
		inside := []string{"-n", name(r)}
		commands = append(commands,
			[]string{"netns", "add", name(r)},
			[]string{"link", "add", Device(r), "type", "veth", "peer", "name", "eth0", "netns", name(r)},
			[]string{"link", "set", Device(r), "master", bridge, "up"},
			append(inside, "link", "set", "lo", "up"),
			append(inside, "link", "set", "eth0", "up"),
			append(inside, "addr", "add", addressing.Region[r]+prefix, "dev", "eth0"),
		)
		if source, ok := addressing.ProxySource[r]; ok {
			commands = append(commands, append(inside, "addr", "add", source+prefix, "dev", "eth0"))
		}
	}
	for _, args := range commands {
		if err := ip(ctx, args...); err != nil {
			Remove(ctx)
			return err
		}
	}
	return nil
}

// Remove takes the namespaces and the bridge away; what is not there is no error.
func Remove(ctx context.Context) {
	for _, r := range layout.Regions {
		_ = ip(ctx, "netns", "del", name(r))
		_ = ip(ctx, "link", "del", Device(r))
	}
	_ = ip(ctx, "link", "del", bridge)
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
