package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/rotator/internal/sts"
)

const resticPlace = "ofitec/credentials/restic"

// withSessions starts what a session of MinIO needs: the store, keys that may ask, and a rotator.
func (r *rig) withSessions(t *testing.T, m minio) *chassistest.Process {
	t.Helper()
	m.user(t, "parent-one", "secret-of-parent-one")
	m.user(t, "parent-two", "secret-of-parent-two")
	r.parent(t, "one")
	return r.rotator(t, events.RegionA, configFile(t, fmt.Sprintf("credentials:\n  - {name: restic, kind: sts, life: 15m, sts: {endpoint: %s, try: %s/backups}}\n", m.url, m.url)))
}

func (r *rig) parent(t *testing.T, which string) {
	t.Helper()
	r.vault.write(t, "secret/data/ofitec/rotator/restic", map[string]any{"data": map[string]any{"access_key_id": "parent-" + which, "secret_access_key": "secret-of-parent-" + which}})
}

// backupLogin is an AppRole with the policy backup.
func (v *vaultServer) backupLogin(t *testing.T) (roleFile, secretFile string) {
	t.Helper()
	policies, err := deploy.VaultPolicies()
	must(t, err)
	must(t, v.root.Sys().PutPolicy("backup", policies["backup"]))
	v.write(t, "auth/approle/role/backup", map[string]any{"token_policies": []string{"backup"}, "token_ttl": "5m", "token_no_default_policy": true})
	id, err := v.root.Logical().Read("auth/approle/role/backup/role-id")
	must(t, err)
	secret, err := v.root.Logical().Write("auth/approle/role/backup/secret-id", nil)
	must(t, err)
	dir := shortDir(t)
	roleFile, secretFile = dir+"/role", dir+"/secret"
	must(t, os.WriteFile(roleFile, []byte(id.Data["role_id"].(string)), 0o600))
	must(t, os.WriteFile(secretFile, []byte(secret.Data["secret_id"].(string)), 0o600))
	return roleFile, secretFile
}

func (v *vaultServer) session(t *testing.T, version int64) sts.Session {
	t.Helper()
	return sts.Session{Keys: sts.Keys{Access: v.value(t, resticPlace, "access_key_id", version), Secret: config.Secret(v.value(t, resticPlace, "secret_access_key", version))},
		Token: config.Secret(v.value(t, resticPlace, "session_token", version))}
}

// backup is restic with a repository in the store, whose sessions come from the helper.
type backup struct {
	rig    *rig
	minio  minio
	p      *chassistest.Process
	restic string
	dir    string
	out    bytes.Buffer
}

// startBackup makes the repository. The helper is asked with more arguments, such as how long restic may keep an answer.
func startBackup(t *testing.T, helper string) *backup {
	t.Helper()
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("it takes minutes: make drills has it")
	}
	restic, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("restic is not installed: a backup is tested where it is")
	}
	b := &backup{rig: startRig(t, "1h", "24h"), minio: startMinIO(t), restic: restic, dir: shortDir(t)}
	b.p = b.rig.withSessions(t, b.minio)
	b.rig.inUse(t, "restic", 0)
	roleFile, secretFile := b.rig.vault.backupLogin(t)
	// The helper is the test's own program, which runs the service when it is told so by its environment, as chassistest does.
	profile := fmt.Sprintf("[backup]\ncredential_process = %s credential-process --name restic --vault %s --role-id-file %s --secret-id-file %s%s\n",
		selfAsService(t, b.dir+"/calls"), b.rig.vault.addr, roleFile, secretFile, helper)
	must(t, os.WriteFile(b.dir+"/credentials", []byte(profile), 0o600))
	must(t, os.WriteFile(b.dir+"/password", []byte("password-of-the-backup"), 0o600))
	data := make([]byte, 24<<20)
	_, _ = rand.Read(data) // never fails
	must(t, os.WriteFile(b.dir+"/data", data, 0o600))
	if err := b.command("init").Run(); err != nil {
		t.Fatalf("restic init: %v\n%s", err, b.out.String())
	}
	return b
}

func (b *backup) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.restic, append([]string{"--no-cache", "-r", "s3:" + b.minio.url + "/backups/restic", "--password-file", b.dir + "/password"}, args...)...)
	// No AWS_ACCESS_KEY_ID: the environment outranks the profile.
	cmd.Env = []string{"HOME=" + b.dir, "PATH=/usr/bin:/bin", "AWS_PROFILE=backup", "AWS_SHARED_CREDENTIALS_FILE=" + b.dir + "/credentials", "AWS_DEFAULT_REGION=us-east-1", "TMPDIR=" + b.dir}
	cmd.Stdout, cmd.Stderr = &b.out, &b.out
	return cmd
}

// asked is how often the helper has answered.
func (b *backup) asked(t *testing.T) int {
	t.Helper()
	answers, err := os.ReadFile(b.dir + "/calls")
	must(t, err)
	return bytes.Count(answers, []byte("\n"))
}

// start begins a backup of so many KiB a second, and returns when it has its first session. The channel has its end.
func (b *backup) start(t *testing.T, rate string) <-chan error {
	t.Helper()
	before := b.asked(t)
	cmd := b.command("--limit-upload", rate, "backup", "--pack-size", "4", b.dir+"/data")
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // or it retries for a quarter of an hour
	await(t, 30*time.Second, "restic has the first session", func() bool { return b.asked(t) > before })
	return ended
}

// outlives wants that a session opens the bucket no more, and that the backup which began with it goes on to its end, is whole, and has told no secret.
func (b *backup) outlives(t *testing.T, dead sts.Session, ended <-chan error, within time.Duration) {
	t.Helper()
	service := sts.Service{Endpoint: b.minio.url}
	if problem, err := service.Try(t.Context(), dead, b.minio.url+"/backups"); err != nil || problem == "" {
		t.Fatalf("the first session still opens the bucket: %v", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the backup ended before the session did, so that nothing is shown: %v\n%s", err, b.out.String())
	default:
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("restic backup: %v\n%s", err, b.out.String())
		}
	case <-time.After(within):
		t.Fatalf("the backup does not end:\n%s", b.out.String())
	}
	if err := b.command("check", "--read-data").Run(); err != nil {
		t.Errorf("restic check: %v\n%s", err, b.out.String())
	}
	b.rig.passwords = append(b.rig.passwords, dead.Secret.Reveal(), dead.Token.Reveal())
	if strings.Contains(b.out.String(), dead.Secret.Reveal()) {
		t.Error("restic's output holds a secret")
	}
	b.p.Terminate(t)
	b.rig.checkSecrets(t, b.p.Output())
}

func TestABackupOutlivesTheSessionWithWhichItBegan(t *testing.T) {
	t.Parallel() // it mostly waits
	b := startBackup(t, " --refresh-within 12s")
	first := b.rig.inUse(t, "restic", 0)
	before := b.asked(t)
	ended := b.start(t, "400") // a minute: restic asks again at least twice
	begun := time.Now()
	// Keys of another user ask for the next session, so that the first one can be made to die: MinIO gives none that lives less than a quarter of an hour.
	b.rig.parent(t, "two")
	b.rig.jobFor(t, "restic", "r-1")
	second := b.rig.inUse(t, "restic", first.Number)
	b.rig.passwords = append(b.rig.passwords, b.rig.vault.session(t, second.Number).Secret.Reveal())
	dead := b.rig.vault.session(t, first.Number)
	answered := b.asked(t)
	await(t, time.Minute, "restic has asked again, and has the second session", func() bool { return b.asked(t) > answered })
	b.minio.disable(t, "parent-one")
	died := time.Since(begun)
	b.outlives(t, dead, ended, 3*time.Minute)
	t.Logf("the session died after %s, the backup ended after %s; the helper was asked %d times", died.Round(time.Second), time.Since(begun).Round(time.Second), b.asked(t)-before)
}

// Nobody ends this session but its own quarter of an hour; the rotator replaces it when it is due.
func TestABackupOutlivesASessionThatExpires(t *testing.T) {
	t.Parallel() // it waits for twenty minutes
	b := startBackup(t, "")
	first := b.rig.inUse(t, "restic", 0)
	before := b.asked(t)
	ended := b.start(t, "20") // 20 min
	begun := time.Now()
	dead := b.rig.vault.session(t, first.Number)
	time.Sleep(time.Until(first.ExpiresAt)) // a quarter of an hour is no condition that could be asked for
	service := sts.Service{Endpoint: b.minio.url}
	await(t, time.Minute, "the store refuses the first session", func() bool {
		problem, err := service.Try(t.Context(), dead, b.minio.url+"/backups")
		return err == nil && problem != ""
	})
	died := time.Since(begun)
	b.outlives(t, dead, ended, 15*time.Minute)
	t.Logf("the session expired after %s, the backup ended after %s; the helper was asked %d times", died.Round(time.Second), time.Since(begun).Round(time.Second), b.asked(t)-before)
}

// selfAsService is a program that is the service, whatever its environment, and notes each answer in a file.
func selfAsService(t *testing.T, calls string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(shortDir(t), "rotator")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\nenv OFITEC_TEST_RUN_AS_SERVICE=1 "+self+" \"$@\" || exit 1\necho answered >> "+calls+"\n"), 0o755)) //nolint:gosec // a program
	return path
}

func TestASessionIsHandedOnWithItsEndAndIntoAFileOfItsOwn(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	m := startMinIO(t)
	r.withSessions(t, m)
	v := r.inUse(t, "restic", 0)
	if life := v.ExpiresAt.Sub(v.MintedAt); life < 14*time.Minute || life > 16*time.Minute {
		t.Errorf("the session lives %s", life)
	}
	roleFile, secretFile := r.vault.backupLogin(t)
	args := []string{"credential-process", "--name", "restic", "--vault", r.vault.addr, "--role-id-file", roleFile, "--secret-id-file", secretFile}
	status, printed, complaints := chassistest.Run(t, args)
	var session processCredentials
	if err := json.Unmarshal([]byte(printed), &session); status != 0 || err != nil {
		t.Fatalf("exit status %d, %v: %s", status, err, complaints)
	}
	want := r.vault.session(t, v.Number)
	if session.Version != 1 || session.AccessKeyID != want.Access || session.SessionToken != want.Token.Reveal() || session.Expiration.Sub(v.ExpiresAt).Abs() > 2*time.Second {
		t.Error("what is printed is not the version in use")
	}
	status, printed, _ = chassistest.Run(t, append(args, "--refresh-within", "1m"))
	must(t, json.Unmarshal([]byte(printed), &session))
	if left := time.Until(session.Expiration); status != 0 || left > time.Minute {
		t.Errorf("exit status %d; it is to be asked again after %s", status, left)
	}
	file := shortDir(t) + "/.env"
	if status, printed, complaints = chassistest.Run(t, append(args, "--env", file)); status != 0 || printed != "" {
		t.Fatalf("exit status %d, printed %q: %s", status, printed, complaints)
	}
	info, err := os.Stat(file)
	must(t, err)
	content, err := os.ReadFile(file)
	must(t, err)
	if info.Mode() != 0o600 || !strings.Contains(string(content), "AWS_SESSION_TOKEN="+want.Token.Reveal()+"\n") {
		t.Errorf("the file has mode %s", info.Mode())
	}
	for _, wrong := range [][]string{args[:1], append(args[:1:1], "--name", "../x", "--vault", "v", "--role-id-file", "f", "--secret-id-file", "f")} {
		if status, _, complaints := chassistest.Run(t, wrong); status != 2 || !strings.Contains(complaints, "--") {
			t.Errorf("%v: exit status %d: %s", wrong, status, complaints)
		}
	}
}
