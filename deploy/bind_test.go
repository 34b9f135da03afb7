package deploy

import (
	"encoding/base64"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func bindKey(name string) BINDKey {
	return BINDKey{Name: name, Secret: base64.StdEncoding.EncodeToString([]byte("a test secret of 32 bytes " + name + "......"))}
}

func TestTheNameMovesByASignedUpdateAndNothingElseDoes(t *testing.T) {
	named, dig, nsupdate := program(t, "named"), program(t, "dig"), program(t, "nsupdate")
	dir := t.TempDir()
	update, control := bindKey("ofitec-update"), bindKey("ofitec-control")
	keys, err := RenderBINDKeys(update, control)
	b := BIND{
		Dir: dir, Listen: []string{"127.0.0.1"}, Port: freePort(t), ControlPort: freePort(t), KeyFile: write(t, dir, "keys.conf", keys, err),
		UpdateKey: update.Name, ControlKey: control.Name, Zone: "ofitec.test", Name: "erp.ofitec.test", TTL: 1, Address: "127.0.0.11", Epoch: 1,
	}
	clientKey, err := RenderBINDKeys(update)
	keyFile := write(t, dir, "update.key", clientKey, err)
	wrongKey, err := RenderBINDKeys(BINDKey{Name: update.Name, Secret: bindKey("another").Secret})
	wrongFile := write(t, dir, "wrong.key", wrongKey, err)
	zone, err := b.RenderZone()
	write(t, dir, "ofitec.test.zone", zone, err)
	conf, err := b.RenderConf()
	file := write(t, dir, "named.conf", conf, err)
	run(t, program(t, "named-checkconf"), "-z", file)
	start(t, exec.Command(named, "-g", "-c", file))

	port := strconv.Itoa(b.Port)
	ask := func(name, kind string) string {
		out, _ := exec.Command(dig, "+short", "+time=1", "+tries=1", "@127.0.0.1", "-p", port, name, kind).Output()
		return strings.TrimSpace(string(out))
	}
	send := func(key string, lines ...string) (string, error) {
		cmd := exec.Command(nsupdate, "-k", key)
		cmd.Stdin = strings.NewReader("server 127.0.0.1 " + port + "\nzone ofitec.test\n" + strings.Join(lines, "\n") + "\nsend\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	within(t, 10*time.Second, "the name answers region a", func() bool { return ask(b.Name, "A") == "127.0.0.11" })
	if got := ask("_epoch."+b.Name, "TXT"); got != `"1"` {
		t.Errorf("the epoch is %s, want \"1\"", got)
	}
	flip := func(from, to int, address string) []string {
		return []string{
			fmt.Sprintf(`prereq yxrrset _epoch.erp.ofitec.test TXT "%d"`, from),
			"update delete _epoch.erp.ofitec.test TXT", fmt.Sprintf(`update add _epoch.erp.ofitec.test 1 TXT "%d"`, to),
			"update delete erp.ofitec.test A", "update add erp.ofitec.test 1 A " + address,
		}
	}
	if out, err := send(keyFile, flip(1, 2, "127.0.0.12")...); err != nil {
		t.Fatalf("flip to region b: %v\n%s", err, out)
	}
	if got := ask(b.Name, "A"); got != "127.0.0.12" {
		t.Errorf("after the flip the name answers %q, want region b", got)
	}
	for what, attempt := range map[string]struct {
		key   string
		lines []string
	}{
		"an update from an old epoch":        {keyFile, flip(1, 2, "127.0.0.11")},
		"an update with a wrong key":         {wrongFile, flip(2, 3, "127.0.0.11")},
		"another name with the right key":    {keyFile, []string{"update add other.ofitec.test 1 A 127.0.0.11"}},
		"another type with the right key":    {keyFile, []string{"update add erp.ofitec.test 1 TXT \"x\""}},
		"deleting the name of the server":    {keyFile, []string{"update delete ns.ofitec.test A"}},
		"an address below the epoch's name":  {keyFile, []string{"update add _epoch.erp.ofitec.test 1 A 127.0.0.11"}},
		"a name below the one that it flips": {keyFile, []string{"update add www.erp.ofitec.test 1 A 127.0.0.11"}},
	} {
		if out, err := send(attempt.key, attempt.lines...); err == nil {
			t.Errorf("%s was accepted: %s", what, out)
		}
	}
	if got := ask(b.Name, "A"); got != "127.0.0.12" {
		t.Errorf("after the refused updates the name answers %q, want region b", got)
	}
	if out, _ := exec.Command(dig, "+time=1", "+tries=1", "@127.0.0.1", "-p", port, "example.com", "A").Output(); !strings.Contains(string(out), "REFUSED") {
		t.Errorf("a foreign name was not refused:\n%s", out)
	}
	if out, _ := exec.Command(dig, "+time=1", "+tries=1", "@127.0.0.1", "-p", port, "ofitec.test", "AXFR").Output(); !strings.Contains(string(out), "Transfer failed") {
		t.Errorf("a transfer was not refused:\n%s", out)
	}
}

func TestTheUpdateKeyDoesNotCommandTheServer(t *testing.T) {
	b := BIND{
		Dir: "/d", Listen: []string{"127.0.0.1"}, Port: 5300, ControlPort: 5953, KeyFile: "/d/keys", UpdateKey: "k", ControlKey: "k",
		Zone: "ofitec.test", Name: "erp.other.test", TTL: 0,
	}
	_, err := b.RenderConf()
	for _, field := range []string{"bind.ControlKey", "bind.Name", "bind.TTL"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error %v does not name %s", err, field)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	_, port, _ := net.SplitHostPort(freeAddress(t))
	n, _ := strconv.Atoi(port)
	return n
}
