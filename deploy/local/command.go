package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// ServiceCommand is a subcommand of a region's service, with the settings and as the user that the service has in the stack. binaries is the folder of the project's programs.
func ServiceCommand(ctx context.Context, l layout.Layout, binaries string, r layout.Region, name string, args ...string) (*exec.Cmd, error) {
	owners, err := findOwners()
	if err != nil {
		return nil, err
	}
	s := &Stack{layout: l, owners: owners, programs: programs{folder: l.Root + "/programs", ours: binaries}}
	program, err := s.programs.own(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	spec := s.component(r, name, program, "")
	command := exec.CommandContext(ctx, program, args...)
	command.Dir, command.Env = spec.Dir, append(spec.Env, s.serviceEnv(r, name, "")...)
	if own, ok := environments[name]; ok {
		command.Env = append(command.Env, own(s, r)...)
	}
	if spec.User != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: spec.User.UID, Gid: spec.User.GID, Groups: []uint32{spec.User.GID}}}
	}
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	return command, nil
}
