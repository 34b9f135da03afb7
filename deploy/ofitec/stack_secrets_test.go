package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// vaultClient is as little of Vault's API as the test needs.
type vaultClient struct {
	t     *testing.T
	addr  string
	http  *http.Client
	token string
}

func (v vaultClient) login(roleID, secretID string) string {
	v.t.Helper()
	body, _ := json.Marshal(map[string]string{"role_id": roleID, "secret_id": secretID})
	response, err := v.http.Post(v.addr+"/v1/auth/approle/login", "application/json", bytes.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Auth.ClientToken == "" {
		v.t.Fatalf("vault login: %d %v", response.StatusCode, err)
	}
	return answer.Auth.ClientToken
}

func (v vaultClient) read(path string) int {
	v.t.Helper()
	request, err := http.NewRequest(http.MethodGet, v.addr+"/v1/"+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.token)
	response, err := v.http.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// leak is a secret that was found where it must not be.
type leak struct{ secret, where string }

// scan looks for secrets, plain, URL-encoded and in base64, in named texts.
func scan(secrets map[string]string, texts map[string]string) []leak {
	var found []leak
	for name, secret := range secrets {
		forms := []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))}
		for where, text := range texts {
			for _, form := range forms {
				if strings.Contains(text, form) {
					found = append(found, leak{name, where})
					break
				}
			}
		}
	}
	return found
}

func TestTheScannerFindsASecretThatIsLeakedOnPurpose(t *testing.T) {
	secrets := map[string]string{"password": "s3cret/with+signs"}
	for where, text := range map[string]string{
		"plain":  "login with s3cret/with+signs failed",
		"in url": "postgres://u:s3cret%2Fwith%2Bsigns@h/d",
		"base64": "data: " + base64.StdEncoding.EncodeToString([]byte("s3cret/with+signs")),
	} {
		if len(scan(secrets, map[string]string{where: text})) != 1 {
			t.Errorf("the scanner misses a secret that is %s", where)
		}
	}
	if found := scan(secrets, map[string]string{"clean": "nothing here"}); len(found) > 0 {
		t.Errorf("the scanner finds %v in a clean text", found)
	}
}

// seeded are all secrets of the running stack.
func (s *stack) seeded(t *testing.T) map[string]string {
	t.Helper()
	secrets := map[string]string{}
	add := func(name string, content []byte) {
		if text := strings.TrimSpace(string(content)); len(text) >= 20 {
			secrets[name] = text
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.layout.OperatorDir(), "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(s.layout.OperatorDir(), "secrets", entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		add(entry.Name(), content)
	}
	var vault any
	content, err := os.ReadFile(filepath.Join(s.layout.OperatorDir(), "vault.json"))
	if err != nil || json.Unmarshal(content, &vault) != nil {
		t.Fatalf("vault.json: %v", err)
	}
	for i, text := range leaves(vault) {
		add("vault.json "+string(rune('0'+i%10)), []byte(text))
	}
	for _, h := range s.identities() {
		if content, err := os.ReadFile(filepath.Join(h.dir, "vault-secret-id")); err == nil {
			add("secret id of "+h.String(), content)
		}
	}
	for _, r := range layout.DataRegions { // the passwords that Vault makes
		for _, colour := range []string{"blue", "green"} {
			if password, err := s.envLine(r, colour, "POSTGRES_PASSWORD"); err == nil {
				add("database password of "+colour+" in region "+string(r), []byte(password))
			}
		}
	}
	if len(secrets) < 10 {
		t.Fatalf("found %d secrets only; the test looks in the wrong place", len(secrets))
	}
	return secrets
}

// leaves are all strings of a JSON value.
func leaves(value any) []string {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		var all []string
		for _, item := range value {
			all = append(all, leaves(item)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, item := range value {
			all = append(all, leaves(item)...)
		}
		return all
	}
	return nil
}

// secretsAreKept scans logs, metrics, process arguments, environments of all but the application, and the streams.
func (s *stack) secretsAreKept(t *testing.T) {
	texts := map[string]string{"terminal": s.output.String()}
	_ = filepath.WalkDir(s.layout.Root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".log") && strings.Contains(path, "/log/") {
			if content, err := os.ReadFile(path); err == nil {
				texts[path] = string(content)
			}
		}
		return nil
	})
	for _, kind := range []string{"cmdline", "environ"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + kind)
		for _, file := range files {
			if content, err := os.ReadFile(file); err == nil {
				texts[file] = string(content)
			}
		}
	}
	for _, r := range layout.Regions {
		for _, service := range layout.Services {
			if _, body, err := get(s.url(r, service.Port, "/metrics")); err == nil {
				texts["metrics of "+service.Name+"."+string(r)] = body
			}
		}
	}
	for _, message := range s.storedMessages(t) {
		texts["stream: "+message[:min(60, len(message))]] += message
	}
	if len(texts) < 40 {
		t.Fatalf("looked at %d places only", len(texts))
	}
	for _, l := range scan(s.seeded(t), texts) {
		t.Errorf("%s is in %s", l.secret, l.where)
	}
	out, _ := s.run("doctor", "-o", "json")
	if strings.Contains(out, "has mode") {
		t.Errorf("a secret file can be read by others: %s", out)
	}
}
