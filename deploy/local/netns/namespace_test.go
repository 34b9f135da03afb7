package netns

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// inOwnNamespace runs the calling test once more in a network namespace of its own.
func inOwnNamespace(t *testing.T) {
	t.Helper()
	if err := exec.Command("unshare", "--net", "true").Run(); err != nil {
		t.Skipf("this machine makes no namespaces: %v", err)
	}
	again := exec.Command("unshare", "--net", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), "OFITEC_NETNS_TEST=1")
	out, err := again.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// socketIn opens a datagram socket in a region's namespace. The thread that entered it ends with its goroutine.
func socketIn(t *testing.T, r layout.Region, address string) net.PacketConn {
	t.Helper()
	type opened struct {
		conn net.PacketConn
		err  error
	}
	result := make(chan opened)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(Path(r), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		var conn net.PacketConn
		if err == nil {
			conn, err = net.ListenPacket("udp", address)
		}
		result <- opened{conn, err}
	}()
	got := <-result
	if got.err != nil {
		t.Fatal(got.err)
	}
	t.Cleanup(func() { _ = got.conn.Close() })
	return got.conn
}
