package page_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// browser is a Chromium that is driven by its own protocol over a pipe: messages of JSON that end with a zero byte.
type browser struct {
	t       *testing.T
	to      io.Writer
	answers chan message
	said    []string // what the page wrote to its console, and what went wrong in it
	session string
	last    int
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// newBrowser starts one, or skips the test where there is none.
func newBrowser(t *testing.T, language string) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on this machine: the page is not opened in a browser")
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile := t.TempDir()
	command := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "--lang="+language, "--accept-lang="+language, "about:blank")
	command.ExtraFiles = []*os.File{in, out} // 3 and 4, as the protocol has it
	if err := command.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	_, _ = in.Close(), out.Close()
	b := &browser{t: t, to: to, answers: make(chan message, 10000)}
	go b.listen(from)
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		ended := make(chan struct{})
		go func() { defer close(ended); _ = command.Wait() }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = command.Process.Kill()
			<-ended
		}
		_, _ = to.Close(), from.Close()
	})
	return b
}

// listen hands on what the browser says, until it ends; it closes the channel then.
func (b *browser) listen(from io.Reader) {
	defer close(b.answers)
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &m) == nil {
			b.answers <- m
		}
	}
}

// call asks the browser and waits for its answer.
func (b *browser) call(method string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	data, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(data, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	deadline := time.After(60 * time.Second)
	for {
		select {
		case m, open := <-b.answers:
			if !open {
				if method == "Browser.close" {
					return nil
				}
				b.t.Fatalf("%s: the browser has ended", method)
			}
			b.note(m)
			if m.ID != b.last {
				continue
			}
			if m.Error != nil {
				b.t.Fatalf("%s: %s", method, m.Error)
			}
			return m.Result
		case <-deadline:
			b.t.Fatalf("%s: no answer within 60 s", method)
		}
	}
}

// note keeps what should not be said.
func (b *browser) note(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.said = append(b.said, fmt.Sprintf("%s %s", m.Method, m.Params))
	}
}

// open shows an address in a tab of a size.
func (b *browser) open(address string, width, height int, scheme string) {
	b.t.Helper()
	var target struct{ TargetID, SessionID string }
	decode(b.t, b.call("Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	decode(b.t, b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &target)
	b.session = target.SessionID
	for _, domain := range []string{"Runtime", "Log", "Page", "Network"} {
		b.call(domain+".enable", nil)
	}
	b.size(width, height)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
	b.call("Page.navigate", map[string]any{"url": address})
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
}

func decode(t *testing.T, data json.RawMessage, target any) {
	t.Helper()
	if err := json.Unmarshal(data, target); err != nil {
		t.Fatal(err)
	}
}

// eval gives the value of an expression in the page as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var answer struct {
		Result struct{ Value any }
	}
	decode(b.t, b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}), &answer)
	return fmt.Sprint(answer.Result.Value)
}

// await evaluates until the expression is true.
func (b *browser) await(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); b.eval(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not true after 30 s: %s\nthe page: %s\nsaid: %v", expression, b.eval("document.body.innerText"), b.said)
		}
	}
}

// picture keeps a picture of the whole page, when OFITEC_SCREENSHOTS names a folder.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("OFITEC_SCREENSHOTS")
	if dir == "" {
		return
	}
	time.Sleep(300 * time.Millisecond) // fonts and the plot's first frame
	var answer struct{ Data string }
	decode(b.t, b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}), &answer)
	content, err := base64.StdEncoding.DecodeString(answer.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), content, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
