package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// renderKeys are what a deployer may change in an environment file: the keys of deploy/vault/rollout.yml.
const renderKeys = "POSTGRES_USER,POSTGRES_PASSWORD,ODOO_MASTER_PASSWORD"

// renderer writes the environment files of a region's colours by the deployer's own program, run as Odoo's user: the files stay that user's alone and of mode 0600,
// the deployer itself needs no right on them and no capability, and root follows no link in a folder that somebody else may change. In production the same is
// `sudo -u odoo deployer render`, with the --keys of deploy/vault/rollout.yml.
func (s *Stack) renderer(r layout.Region) control.Renderer {
	return func(ctx context.Context, colour string, wish io.Reader) error {
		program, err := s.programs.own("deployer")
		if err != nil {
			return err
		}
		file := s.layout.OdooEnvFile(r, colour)
		other := s.layout.OdooEnvFile(r, map[string]string{"blue": "green", "green": "blue"}[colour])
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, program, "render", "--env", file, "--like", other, "--keys", renderKeys)
		cmd.Dir, cmd.Env = filepath.Dir(file), []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
		cmd.Stdin, cmd.Stderr = wish, &said
		if user := s.owners.of("odoo-" + colour); user != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user.UID, Gid: user.GID}}
		}
		err = cmd.Run()
		var exit *exec.ExitError
		problem := strings.TrimSpace(said.String())
		const wrongUse = 2
		if errors.As(err, &exit) && exit.ExitCode() == wrongUse {
			return &control.Refused{Reason: strings.TrimPrefix(problem, "deployer: ")}
		}
		if err != nil {
			return fmt.Errorf("write the environment of odoo-%s: %w: %s", colour, err, problem)
		}
		return nil
	}
}
