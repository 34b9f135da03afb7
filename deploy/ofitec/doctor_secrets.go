package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/ofitec/leak"
)

// standIn is the application itself, which is given its secrets.
const standIn = "odoo-standin"

func newDoctorSecrets() *cobra.Command {
	command := &cobra.Command{
		Use:   "secrets",
		Short: "Look for the stack's secrets in logs, metrics, arguments, environments, readable files, streams and etcd; exits 1 when one is found",
		Long: `Look for every secret that the operator knows - passwords, keys, logins to Vault, and what Vault keeps under ofitec/ - and for what begins like a token or a key, in all logs, the metrics of all components, the
arguments of all processes of this machine, the environment of all but the application, files that others can read, every message of every stream, parked ones too, every revision of the bus's buckets and every object of its stores, and etcd.
A secret is told by its name, never by its value. Run it as root, who may read all of these.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			search, secrets, err := searchSecrets(cmd.Context(), l)
			if err != nil {
				return err
			}
			if inJSON {
				err = writeJSON(cmd.OutOrStdout(), map[string]any{"secrets": secrets, "looked_at": search.Looked, "missed": search.Missed, "found": search.Found})
			} else {
				err = printSearch(cmd.OutOrStdout(), search, secrets)
			}
			if err == nil && len(search.Found)+len(search.Missed) > 0 {
				return &failed{}
			}
			return err
		},
	}
	outputFlag(command)
	return command
}

func printSearch(w io.Writer, search *leak.Search, secrets int) error {
	var looked []string
	for _, kind := range leak.Kinds {
		looked = append(looked, fmt.Sprintf("%s %d", kind, search.Looked[kind]))
	}
	_, err := fmt.Fprintf(w, "looked for %d secrets in %s\n", secrets, strings.Join(looked, ", "))
	for _, found := range search.Found {
		_, err = fmt.Fprintf(w, "FOUND %s in %s: %s\n", found.Secret, found.Kind, found.Where)
	}
	for _, missed := range search.Missed {
		_, err = fmt.Fprintf(w, "NOT LOOKED AT %s\n", missed)
	}
	if len(search.Found) == 0 {
		_, err = fmt.Fprintln(w, "found none of them")
	}
	return err
}

// searchSecrets looks for all secrets of a data folder. What runs is asked too; without a running stack only files and processes are looked at.
func searchSecrets(ctx context.Context, l layout.Layout) (*leak.Search, int, error) {
	secrets, err := secretsOf(l)
	if err != nil {
		return nil, 0, err
	}
	var o *operator
	var missed error
	if !local.Stopped(l) {
		if o, err = newOperator(l); err != nil {
			return nil, 0, err
		}
		missed = o.storedSecrets(ctx, secrets)
	}
	finder := leak.NewFinder(secrets)
	search := leak.NewSearch(finder)
	if missed != nil {
		search.Miss("secrets that Vault keeps", missed)
	}
	search.Files(l.Root)
	search.Processes(standIn)
	if o == nil {
		return search, finder.Secrets(), nil
	}
	for name, address := range o.metricsOf() {
		search.Metrics(ctx, o.http, name, address)
	}
	if conn, js, err := o.nats(); err != nil {
		search.Miss("streams", err)
	} else {
		searchStreams(ctx, js, search)
		conn.Close()
	}
	client, err := o.etcd(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = client.Close() }()
	if err := searchState(ctx, client, search); err != nil {
		search.Miss("etcd", err)
	}
	return search, finder.Secrets(), nil
}

// secretsOf are the secrets in the operator's and the services' folders and in the environment files of Odoo, by names that say where each is.
func secretsOf(l layout.Layout) (map[string][]byte, error) {
	secrets := map[string][]byte{}
	add := func(name string, content []byte) { secrets[name] = []byte(strings.TrimSpace(string(content))) }
	dir := filepath.Join(l.OperatorDir(), "secrets")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the operator's secrets: %w", err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the operator's secrets: %w", err)
		}
		add(entry.Name(), content)
		if len(content) == 32 { // a key; spaces at its ends belong to it
			secrets[entry.Name()] = content
		}
	}
	if content, err := os.ReadFile(filepath.Join(l.OperatorDir(), "vault.json")); err == nil {
		var keys any
		if err := json.Unmarshal(content, &keys); err != nil {
			return nil, fmt.Errorf("read vault.json: %w", err)
		}
		for path, text := range leavesOf("vault.json", keys) {
			add(path, []byte(text))
		}
	}
	patterns := []string{"*/identity/*/vault-secret-id", "*/odoo/*/.env", "*/odoo/*/.env.bak", "outside/console/link"}
	for _, pattern := range patterns {
		files, _ := filepath.Glob(filepath.Join(l.Root, pattern))
		for _, file := range files {
			content, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has just been used, or replaced
			}
			if err != nil {
				return nil, fmt.Errorf("read a secret: %w", err)
			}
			name, _ := filepath.Rel(l.Root, file)
			if !strings.Contains(pattern, ".env") {
				add(name, content)
				continue
			}
			for line := range strings.Lines(string(content)) {
				key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
				if ok && secretKey(key) {
					add(name+" "+key, []byte(strings.Trim(value, `"'`)))
				}
			}
		}
	}
	return secrets, nil
}

// secretKey says whether a variable of an environment file holds a secret; those that name a file do not.
func secretKey(key string) bool {
	if strings.HasSuffix(key, "_FILE") {
		return false
	}
	return slices.ContainsFunc([]string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY"}, func(part string) bool { return strings.Contains(key, part) })
}

// leavesOf are all strings of a JSON value by their paths.
func leavesOf(path string, value any) map[string]string {
	all := map[string]string{}
	switch value := value.(type) {
	case string:
		all[path] = value
	case []any:
		for n, item := range value {
			for at, text := range leavesOf(fmt.Sprintf("%s[%d]", path, n), item) {
				all[at] = text
			}
		}
	case map[string]any:
		for key, item := range value {
			for at, text := range leavesOf(path+" "+key, item) {
				all[at] = text
			}
		}
	}
	return all
}

// storedSecrets adds what Vault keeps under secret/ofitec/, all versions that are still there.
func (o *operator) storedSecrets(ctx context.Context, secrets map[string][]byte) error {
	token := secrets["vault.json root_token"]
	if token == nil {
		return nil // there is no Vault yet
	}
	for _, r := range layout.Regions {
		if node, err := o.vaultNode(ctx, r); err == nil && node.Initialized && !node.Sealed {
			v := keptSecrets{o, "https://" + o.layout.Addressing.Addr(r, layout.PortVault), string(token)}
			return v.walk(ctx, "ofitec/", secrets)
		}
	}
	return errors.New("no node of Vault is open")
}

// keptSecrets reads KV version 2 with the root token of the local stack.
type keptSecrets struct {
	*operator
	address, token string
}

func (v keptSecrets) walk(ctx context.Context, folder string, secrets map[string][]byte) error {
	var list struct{ Data struct{ Keys []string } }
	if err := v.read(ctx, "secret/metadata/"+folder+"?list=true", &list); err != nil {
		return err
	}
	for _, key := range list.Data.Keys {
		path := folder + key
		if strings.HasSuffix(key, "/") {
			if err := v.walk(ctx, path, secrets); err != nil {
				return err
			}
			continue
		}
		var metadata struct {
			Data struct {
				Versions map[string]struct {
					Deleted   string `json:"deletion_time"`
					Destroyed bool   `json:"destroyed"`
				} `json:"versions"`
			}
		}
		if err := v.read(ctx, "secret/metadata/"+path, &metadata); err != nil {
			return err
		}
		for version, state := range metadata.Data.Versions {
			if state.Destroyed || state.Deleted != "" {
				continue
			}
			var kept struct{ Data struct{ Data map[string]any } }
			if err := v.read(ctx, "secret/data/"+path+"?version="+version, &kept); err != nil {
				return err
			}
			for key, value := range kept.Data.Data {
				if secretField(key) {
					for at, text := range leavesOf("secret "+path+" version "+version+" "+key, value) {
						secrets[at] = []byte(text)
					}
				}
			}
		}
	}
	return nil
}

// secretField says whether a field of a credential is secret; names, ids, numbers and times stand in events and in the state by right.
func secretField(key string) bool {
	key = strings.ToLower(key)
	if strings.Contains(key, "secret") {
		return true
	}
	return key != "id" && !slices.ContainsFunc([]string{"user", "access_key", "expir", "epoch", "term"}, func(part string) bool { return strings.Contains(key, part) })
}

func (v keptSecrets) read(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.address+"/v1/"+path, nil)
	if err != nil {
		return fmt.Errorf("read %s of Vault: %w", path, err)
	}
	request.Header.Set("X-Vault-Token", v.token)
	response, err := v.http.Do(request)
	if err != nil {
		return fmt.Errorf("read %s of Vault: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNotFound {
		return nil // nothing is kept there, or it has just been destroyed
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("read %s of Vault: it answers %d", path, response.StatusCode)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("read %s of Vault: %w", path, err)
	}
	return nil
}

// metricsOf are the addresses of all that is scraped, or could be, by name.
func (o *operator) metricsOf() map[string]string {
	a := o.layout.Addressing
	targets := map[string]string{}
	add := func(name string, r layout.Region, port int) {
		targets[name+"."+string(r)] = "http://" + a.Addr(r, port) + "/metrics"
	}
	for _, service := range layout.Services {
		for _, r := range service.Regions {
			add(service.Name, r, service.Port)
		}
	}
	for _, r := range layout.DataRegions {
		add("odoo-blue", r, layout.PortOdooBlue)
		add("odoo-green", r, layout.PortOdooGreen)
		add("postgres-exporter", r, layout.PortPostgresExporter)
		add("haproxy-db", r, layout.PortDatabaseProxyTap)
		add("haproxy-web", r, layout.PortWebProxyTap)
		add("prometheus", r, layout.PortPrometheus)
	}
	for _, r := range layout.Regions {
		targets["etcd."+string(r)] = "https://" + a.Addr(r, layout.PortEtcd) + "/metrics"
		targets["vault."+string(r)] = "https://" + a.Addr(r, layout.PortVault) + "/v1/sys/metrics?format=prometheus"
		targets["nats."+string(r)] = "http://" + a.Addr(r, layout.PortNATSMonitor) + "/varz"
	}
	targets["console"] = fmt.Sprintf("http://%s:%d/metrics", a.Console, layout.PortConsole)
	return targets
}

// searchState looks at all keys in etcd.
func searchState(ctx context.Context, client *clientv3.Client, search *leak.Search) error {
	answer, err := client.Get(ctx, "/ofitec/", clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read /ofitec/: %w", err)
	}
	for _, entry := range answer.Kvs {
		search.Look(leak.State, string(entry.Key), fmt.Append(entry.Value, "\n", string(entry.Key)))
	}
	return nil
}
