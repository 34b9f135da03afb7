package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawner forks on one OS thread that lives as long as the supervisor: the kernel delivers Pdeathsig when the forking *thread* ends,
// and a network namespace is a property of the thread too.
type spawner struct {
	mu      sync.Mutex
	threads map[string]chan spawnRequest // by namespace path
}

type spawnRequest struct {
	spec Spec
	log  *os.File
	done chan spawnResult
}

type spawnResult struct {
	cmd *exec.Cmd
	err error
}

func (s *spawner) start(spec Spec, log *os.File) (*exec.Cmd, error) {
	s.mu.Lock()
	if s.threads == nil {
		s.threads = map[string]chan spawnRequest{}
	}
	requests, ok := s.threads[spec.Namespace]
	if !ok {
		requests = make(chan spawnRequest)
		ready := make(chan error, 1)
		go spawnThread(spec.Namespace, requests, ready)
		if err := <-ready; err != nil {
			s.mu.Unlock()
			return nil, err
		}
		s.threads[spec.Namespace] = requests
	}
	s.mu.Unlock()
	request := spawnRequest{spec: spec, log: log, done: make(chan spawnResult, 1)}
	requests <- request
	result := <-request.done
	return result.cmd, result.err
}

// spawnThread serves starts for one namespace. It never returns, so its thread never ends.
func spawnThread(namespace string, requests <-chan spawnRequest, ready chan<- error) {
	runtime.LockOSThread()
	if namespace != "" {
		if err := enterNamespace(namespace); err != nil {
			ready <- err
			return // the locked thread ends with the goroutine; no child was forked on it
		}
	}
	ready <- nil
	for request := range requests {
		cmd, err := fork(request.spec, request.log)
		request.done <- spawnResult{cmd, err}
	}
}

func enterNamespace(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

func fork(spec Spec, log *os.File) (*exec.Cmd, error) {
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // it is ended by signals, and its descendants with it
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if spec.User != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: spec.User.UID, Gid: spec.User.GID, Groups: []uint32{spec.User.GID}}
	}
	if spec.Nice != 0 && os.Geteuid() == 0 {
		// The child inherits the thread's priority; only root can take a raised one back.
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, spec.Nice); err == nil {
			defer func() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0) }()
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.ID(), err)
	}
	return cmd, nil
}

func openLog(path string) (*os.File, error) {
	if path == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the logs themselves are 0600
		return nil, fmt.Errorf("make the log's folder: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("rotate log: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return file, nil
}

// signalGroup signals the process group of pid; a group that is gone is no error.
func signalGroup(pid int, signal syscall.Signal) error {
	if err := syscall.Kill(-pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process group %d: %w", pid, err)
	}
	return nil
}
