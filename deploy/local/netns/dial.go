package netns

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Dial connects to an IP address from within a region's namespace: what is cut off from the region is cut off from the connection.
func Dial(ctx context.Context, r layout.Region, network, address string) (net.Conn, error) {
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread that has entered the namespace ends with the goroutine
		conn, err := dialWithin(ctx, Path(r), network, address)
		done <- opened{conn, err}
	}()
	got := <-done
	return got.conn, got.err
}

func dialWithin(ctx context.Context, path, network, address string) (net.Conn, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
