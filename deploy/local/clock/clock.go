// Package clock lets the wall clock of a region jump: that of all its processes, in whatever language, and of no other's. The kernel has one wall clock for all, so
// the functions by which a process reads it are replaced in its memory. The monotonic clocks go on as they did, and so do the kernel's own uses of the wall clock:
// the times of files, and timers that were set to a moment of it.
package clock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// Possible says whether clocks can jump on this machine.
func Possible() bool {
	_, err := functions()
	return err == nil
}

// Jump sets the wall clocks of all processes of a folder to an offset from the machine's, whatever offset they had, and says how many. All of them stand still meanwhile.
// Children have what their parent has; a new program begins with the machine's clock, so that whoever wants it to jump too calls Jump again.
func Jump(ctx context.Context, dir string, offset time.Duration) (processes int, err error) {
	all, err := functions()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, supervise.ThawFolder(dir)) }()
	if err := supervise.FreezeFolder(ctx, dir); err != nil {
		return 0, err
	}
	for _, pid := range supervise.InFolder(dir) {
		switch err := set(ctx, pid, all, offset); {
		case err == nil:
			processes++
		case !gone(err):
			return processes, err
		}
	}
	return processes, nil
}

// Follow lets programs that start meanwhile jump too, until ctx ends.
func Follow(ctx context.Context, dir string, offset time.Duration) error {
	all, err := functions()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, pid := range supervise.InFolder(dir) {
			if has, err := reads(pid, all, offset); has || err != nil {
				continue // it has jumped, or has ended
			}
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			err := set(ctx, pid, all, offset)
			_ = syscall.Kill(pid, syscall.SIGCONT)
			if err != nil && !gone(err) && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, errEnded)
}

var errEnded = errors.New("it has ended")

// set writes the functions into a process that stands still.
func set(ctx context.Context, pid int, all []function, offset time.Duration) error {
	base, err := imageBase(pid)
	if err != nil {
		return err
	}
	if err := outside(ctx, pid, base, all); err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open memory of process %d: %w", pid, err)
	}
	defer func() { _ = memory.Close() }()
	for _, f := range all {
		code := f.original
		if offset != 0 {
			code = f.code(wholeSeconds(offset))
		}
		if _, err := memory.WriteAt(code, int64(base+f.at)); err != nil { //nolint:gosec // addresses of a process are below 2^63
			return fmt.Errorf("write into process %d: %w", pid, err)
		}
	}
	return nil
}

// reads says whether a process has the offset already.
func reads(pid int, all []function, offset time.Duration) (bool, error) {
	base, err := imageBase(pid)
	if err != nil {
		return false, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, fmt.Errorf("open memory of process %d: %w", pid, err)
	}
	defer func() { _ = memory.Close() }()
	want := all[0].code(wholeSeconds(offset))
	there := make([]byte, len(want))
	if _, err := memory.ReadAt(there, int64(base+all[0].at)); err != nil { //nolint:gosec // as above
		return false, fmt.Errorf("read process %d: %w", pid, err)
	}
	return slices.Equal(there, want), nil
}

// outside waits until no thread of a process that stands still is in the middle of one of the functions: it is let go on for a moment.
func outside(ctx context.Context, pid int, base uint64, all []function) error {
	for {
		busy, err := inside(pid, base, all)
		if err != nil || !busy {
			return err
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d always reads its clock: %w", pid, ctx.Err())
		case <-time.After(time.Millisecond):
		}
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// inside says whether a thread stands in one of the functions, or still runs.
func inside(pid int, base uint64, all []function) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(threads) == 0 {
		return false, fmt.Errorf("look at process %d: %w", pid, errEnded)
	}
	for _, thread := range threads {
		content, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("look at process %d: %w", pid, err)
		}
		fields := strings.Fields(string(content)) // the call or -1, its arguments, the stack, and last where it stands
		if len(fields) < 3 {
			return true, nil // it runs
		}
		at, err := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			return false, fmt.Errorf("look at process %d: %q: %w", pid, content, err)
		}
		for _, f := range all {
			// A little more than the code itself: the kernel's own functions are longer than what is put in their place.
			if at >= base+f.at && at < base+f.at+functionBytes {
				return true, nil
			}
		}
	}
	return false, nil
}

// functionBytes is more than any of the kernel's own functions has.
const functionBytes = 1024
