package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"

	engine "github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// processCredentials is what an AWS profile's credential_process prints, by the SDKs' own words.
type processCredentials struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
}

// helper is the part of the rotator that hands a session on: to a program that asks again before the session ends, or into a file for one that cannot ask.
// It runs as whoever makes backups, with an identity of its own that may read that one path.
type helper struct {
	vault  chassis.VaultSettings
	ca     string
	name   string
	env    string
	within time.Duration // after which it is to be asked again, if sooner than the session's end
}

const helperUsage = "usage: rotator credential-process --name NAME --vault ADDRESS --role-id-file FILE --secret-id-file FILE [--ca FILE] [--refresh-within 5m] [--env FILE]"

// parseHelper reads the arguments: they name files, no secrets.
func parseHelper(args []string) (*helper, error) {
	h := &helper{}
	flags := flag.NewFlagSet("credential-process", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&h.name, "name", "", "credential")
	flags.StringVar(&h.vault.Addr, "vault", os.Getenv("VAULT_ADDR"), "address of Vault")
	flags.StringVar(&h.vault.RoleIDFile, "role-id-file", os.Getenv("OFITEC_VAULT_ROLE_ID_FILE"), "AppRole")
	flags.StringVar(&h.vault.SecretIDFile, "secret-id-file", os.Getenv("OFITEC_VAULT_SECRET_ID_FILE"), "AppRole")
	flags.StringVar(&h.ca, "ca", os.Getenv("OFITEC_TLS_CA_FILE"), "authority of Vault")
	flags.StringVar(&h.env, "env", "", "file to be written instead")
	flags.DurationVar(&h.within, "refresh-within", 0, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || h.within < 0 {
		return nil, &chassis.UsageError{Reason: helperUsage}
	}
	for _, p := range []struct{ flag, value, want string }{
		{"--name", h.name, "a credential of kind sts, such as restic"}, {"--vault", h.vault.Addr, "Vault's address, such as https://127.0.0.13:8200"},
		{"--role-id-file", h.vault.RoleIDFile, "a file"}, {"--secret-id-file", h.vault.SecretIDFile, "a file"},
	} {
		if p.value == "" {
			return nil, &chassis.UsageError{Reason: fmt.Sprintf("%s is empty: want %s; %s", p.flag, p.want, helperUsage)}
		}
	}
	if !word.MatchString(h.name) {
		return nil, &chassis.UsageError{Reason: fmt.Sprintf("--name %q: want small letters, digits, - and _", h.name)}
	}
	return h, nil
}

// credentialProcess prints the session in force, or writes it into a file.
func credentialProcess(ctx context.Context, args []string, out io.Writer) error {
	h, err := parseHelper(args)
	if err != nil {
		return err
	}
	session, err := h.read(ctx)
	if err != nil {
		return fmt.Errorf("hand on a session of %s: %w", h.name, err)
	}
	if h.env != "" {
		return writeEnv(h.env, session)
	}
	if soon := time.Now().Add(h.within); h.within > 0 && soon.Before(session.Expiration) {
		session.Expiration = soon.UTC().Truncate(time.Second)
	}
	return json.NewEncoder(out).Encode(session) //nolint:gosec // handing it to the caller is what it is for
}

// helperTimeout bounds the whole: a backup waits for it.
const helperTimeout = 20 * time.Second

func (h *helper) read(ctx context.Context) (session processCredentials, err error) {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	settings := chassis.NewSettings()
	settings.Vault, settings.TLS.CA = h.vault, h.ca
	client, err := vault.Connect(settings)
	if err != nil {
		return session, err
	}
	if err := login(ctx, client); err != nil {
		return session, err
	}
	defer func() { // nothing hangs on this token, and it ends by itself
		_ = client.Auth().Token().RevokeSelfWithContext(context.WithoutCancel(ctx), "")
	}()
	fields, err := engine.New(client, "", "", "ofitec/credentials/"+h.name).Read(ctx, 0)
	if err != nil {
		return session, err
	}
	session = processCredentials{1, fields[fieldAccessKey].Reveal(), fields[fieldSecretKey].Reveal(), fields[fieldToken].Reveal(), time.Time{}}
	if session.AccessKeyID == "" || session.SecretAccessKey == "" || session.SessionToken == "" {
		return session, errors.New("KV v2 has none: is it rotated (ofitec credentials list), and is its kind sts?")
	}
	if session.Expiration, err = time.Parse(time.RFC3339, fields[fieldExpires].Reveal()); err != nil {
		return session, fmt.Errorf("KV v2's expiration: %w", err)
	}
	if !time.Now().Before(session.Expiration) {
		return session, fmt.Errorf("the newest one has expired at %s: is a rotator there?", session.Expiration.Format(time.RFC3339))
	}
	return session, nil
}

// login waits for the first token, and says why there is none.
func login(ctx context.Context, client *vault.Client) error {
	holding, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Hold(holding) // ends with its context
	}()
	defer func() { stop(); <-ended }()
	for {
		err := client.Check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writeEnv writes a file of mode 0600, whole or not at all. Its values are letters that neither a shell nor docker compose reads anything into.
func writeEnv(path string, s processCredentials) error {
	for _, value := range []string{s.AccessKeyID, s.SecretAccessKey, s.SessionToken} {
		if !plain(config.Secret(value)) {
			return fmt.Errorf("write %s: a key or the token has letters beyond A-Z, a-z, 0-9 and + / = _ . -", path)
		}
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is no regular file", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".session-") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = fmt.Fprintf(file, "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nAWS_SESSION_TOKEN=%s\n# until %s\n", s.AccessKeyID, s.SecretAccessKey, s.SessionToken, s.Expiration.UTC().Format(time.RFC3339))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

func plain(text config.Secret) bool {
	for _, c := range text.Reveal() {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '=', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
