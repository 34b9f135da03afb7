package postgres

import (
	"os"
	"syscall"
)

// sameOwner gives a file to the owner of another one. An arbiter that runs as root would else write rules that PostgreSQL cannot read.
func sameOwner(f *os.File, as string) error {
	info, err := os.Stat(as)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
