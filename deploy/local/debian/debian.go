// Package debian finds the servers that come from Debian packages and installs what is missing when it may.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// Package is a Debian package and a program by which it is recognised.
type Package struct {
	Name    string
	Program string // absolute path, or a name to look up in PATH and /usr/sbin
}

// Packages are what the local stack needs from Debian 12.
var Packages = []Package{
	{"postgresql-15", PostgresBin + "/postgres"},
	{"pgbackrest", "pgbackrest"},
	{"haproxy", "haproxy"},
	{"prometheus", "prometheus"},
	{"prometheus-postgres-exporter", "prometheus-postgres-exporter"},
	{"bind9", "named"},
	{"bind9-utils", "named-checkconf"},
	{"bind9-dnsutils", "dig"},
	{"iproute2", "ip"},
	{"nftables", "nft"},
	{"restic", "restic"},
}

// PostgresBin holds initdb, pg_ctl, pg_basebackup and pg_rewind of the version that the stack uses.
const PostgresBin = "/usr/lib/postgresql/15/bin"

// Program finds a program of a package: PATH first, then the folders for system programs that a user's PATH may lack.
func Program(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		info, err := os.Stat(name)
		if err != nil || info.Mode()&0o111 == 0 {
			return "", fmt.Errorf("find %s: it is not there", name)
		}
		return name, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := dir + "/" + name
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: it is not in PATH", name)
}

// Missing lists the packages whose program is not there.
func Missing() []Package {
	var missing []Package
	for _, p := range Packages {
		if _, err := Program(p.Program); err != nil {
			missing = append(missing, p)
		}
	}
	return missing
}

// Installable fails, with the one command to run, when packages are missing and this user cannot install them.
func Installable() error { return installable(Missing(), os.Geteuid() == 0) }

func installable(missing []Package, root bool) error {
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(namesOf(missing), " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing packages: %s; this is not Debian, install them by its own means", names)
	}
	if !root {
		return fmt.Errorf("missing packages: %s; run as root: apt-get install -y --no-install-recommends %s", names, names)
	}
	return nil
}

func namesOf(packages []Package) []string {
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = p.Name
	}
	return names
}

// Ensure installs what is missing when run as root; otherwise it fails and names the one command to run.
// Servers that the packages would start by themselves stay off: a policy is in force while they are installed.
func Ensure(ctx context.Context, progress func(format string, args ...any)) error {
	missing := Missing()
	if len(missing) == 0 {
		return nil
	}
	if err := installable(missing, os.Geteuid() == 0); err != nil {
		return err
	}
	names := namesOf(missing)
	progress("installing Debian packages: %s", strings.Join(names, " "))
	restore, err := keepServersOff()
	if err != nil {
		return err
	}
	defer restore()
	if err := apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, names...)); err != nil {
		progress("refreshing Debian's package lists")
		if err := apt(ctx, []string{"update"}); err != nil {
			return err
		}
		if err := apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, names...)); err != nil {
			return err
		}
	}
	if still := Missing(); len(still) > 0 {
		return fmt.Errorf("installed %s, but %s is still not there", strings.Join(names, " "), still[0].Program)
	}
	return nil
}

func apt(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(output.String()), "\n")
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lines[len(lines)-1])
	}
	return nil
}

const (
	policyFile  = "/usr/sbin/policy-rc.d"
	clusterConf = "/etc/postgresql-common/createcluster.d/ofitec.conf"
)

// keepServersOff stops packages from starting their servers and PostgreSQL from making a cluster. What the machine's owner has set there stays.
func keepServersOff() (restore func(), err error) {
	var made []string
	for path, content := range map[string]string{policyFile: "#!/bin/sh\nexit 101\n", clusterConf: "create_main_cluster = false\n"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil { //nolint:gosec // a folder of the system
			return nil, fmt.Errorf("keep packaged servers off: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil { //nolint:gosec // a program of the system
			return nil, fmt.Errorf("keep packaged servers off: %w", err)
		}
		made = append(made, path)
	}
	return func() {
		for _, path := range made {
			_ = os.Remove(path)
		}
	}, nil
}
