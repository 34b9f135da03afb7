package chassis_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/config"
)

// The test binary can run as one of these services; the first argument says which.
func TestMain(m *testing.M) {
	chassistest.Main(m, func() {
		settings := chassis.NewSettings()
		os.Exit(chassis.Main("sample", sample, chassis.ConfigReference(&settings, chassis.EarlierNames...)))
	})
}

func sample(ctx context.Context, args []string) error {
	settings := chassis.NewSettings()
	if err := config.Load(&settings, chassis.EarlierNames...); err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "fail":
		return errors.New("open the door: no key")
	case len(args) == 1 && args[0] == "hang":
		println("running")
		<-ctx.Done()
		println("draining")
		select {}
	}
	return chassis.NoArguments(args)
}

func TestTheExitStatusTellsDoneFailedAndWrongUse(t *testing.T) {
	for _, c := range []struct {
		args   []string
		env    string
		status int
		says   string
	}{
		{nil, "OFITEC_REGION=a", 0, ""},
		{[]string{"fail"}, "OFITEC_REGION=a", 1, "open the door: no key"},
		{nil, "OFITEC_REGION=x", 2, `sample: OFITEC_REGION="x": want one of a, b, c, outside`},
		{[]string{"dance"}, "OFITEC_REGION=a", 2, `sample: unknown argument "dance"`},
	} {
		status, _, stderr := chassistest.Run(t, c.args, c.env)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%v %s: status %d, %q", c.args, c.env, status, stderr)
		}
	}
}

func TestTheReferenceListsTheEarlierNames(t *testing.T) {
	status, out, _ := chassistest.Run(t, []string{"config-reference"})
	for _, want := range []string{"| `ETCD` |", "`OFITEC_VAULT_TOKEN` or `OFITEC_VAULT_TOKEN_FILE`", "`nats.urls`"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, no %s in\n%s", status, want, out)
		}
	}
}

func TestASecondSignalKillsAServiceThatHangsWhileDraining(t *testing.T) {
	c := exec.Command(os.Args[0], "hang")
	c.Env = append(os.Environ(), "OFITEC_TEST_RUN_AS_SERVICE=1", "OFITEC_REGION=a")
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }()
	lines := bufio.NewScanner(stderr)
	await := func(word string) {
		for lines.Scan() {
			if lines.Text() == word {
				return
			}
		}
		t.Fatalf("the service ended without saying %q", word)
	}
	await("running")
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await("draining")
	time.Sleep(100 * time.Millisecond) // the handler is taken away beside the drain
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // the status is read below
	if status := c.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", c.ProcessState)
	}
}

func service(t *testing.T) *chassis.Service {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Region, settings.HTTPAddr = "a", "127.0.0.1:0"
	s, err := chassis.New("sample", settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func status(s *chassis.Service, path string) int {
	response, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestTheFirstActorToReturnStopsAllAndAllAreWaitedFor(t *testing.T) {
	s := service(t)
	finished := false
	s.Add("slow", func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(200 * time.Millisecond)
		finished = true
		return ctx.Err()
	})
	s.Add("first", func(context.Context) error { return errors.New("lost the disk") })
	err := s.Run(t.Context())
	if err == nil || err.Error() != "run first: lost the disk" {
		t.Errorf("error %v", err)
	}
	if !finished {
		t.Error("the slow actor was not waited for")
	}
}

func TestAnActorThatIsDoneEndsTheServiceWithoutAnError(t *testing.T) {
	s := service(t)
	s.Add("once", func(context.Context) error { return nil })
	if err := s.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhileActorsDrainTheServiceIsAliveButNotReady(t *testing.T) {
	s := service(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready, draining, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.Add("worker", func(ctx context.Context) error {
		close(ready)
		<-ctx.Done()
		close(draining)
		<-release
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-ready
	if got := status(s, "/readyz"); got != 200 {
		t.Errorf("readyz %d before the drain", got)
	}
	cancel()
	<-draining
	if live, ready := status(s, "/healthz"), status(s, "/readyz"); live != 200 || ready != 503 {
		t.Errorf("healthz %d, readyz %d in the drain", live, ready)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if status(s, "/healthz") != 0 {
		t.Error("still served after the end")
	}
}

func TestAPortInUseIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	settings := chassis.NewSettings()
	settings.HTTPAddr = listener.Addr().String()
	s, err := chassis.New("sample", settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), settings.HTTPAddr) {
		t.Errorf("error %v", err)
	}
}

func TestSettingsThatContradictOrAreMalformedAreAllNamed(t *testing.T) {
	s := chassis.NewSettings()
	s.HTTPAddr, s.TLS.Cert = "8701", "/tls.crt"
	s.NATS.URLs = []string{"http://x:1", "nats://u:hush@"}
	s.Etcd.Endpoints = []string{"etcd:2379", "ftp://etcd"}
	s.Vault.Addr, s.Vault.RoleIDFile = "vault", "/role"
	var all []string
	for _, problem := range s.Problems() {
		all = append(all, problem.Error())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"OFITEC_REGION is not set", `OFITEC_HTTP_ADDR="8701"`, "OFITEC_TLS_KEY_FILE is not set", `NATS_URL="http://x:1"`,
		`ETCD_ENDPOINTS="ftp://etcd"`, `VAULT_ADDR="vault"`, "OFITEC_VAULT_SECRET_ID_FILE"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hush") || strings.Contains(text, `"etcd:2379"`) {
		t.Errorf("a password, or what is right, in\n%s", text)
	}
}
