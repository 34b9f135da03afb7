package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// A program reads the clock without entering the kernel, by functions that the kernel maps into each process: the vDSO. Every language does so that runs here: Go by
// itself, all others by their C library. The page is private to its process, and a debugger may write into it.

// reading is a function of the vDSO that gives the wall clock, and the code that stands in its place: ask the kernel, add an offset in seconds to the wall clocks.
type reading struct {
	symbol string
	code   func(offset int64) []byte
}

var readings = []reading{
	{"__vdso_clock_gettime", func(offset int64) []byte {
		return join([]byte{
			0xb8, 0xe4, 0, 0, 0, // mov eax, clock_gettime
			0x0f, 0x05, // syscall
			0x85, 0xc0, // test eax, eax
			0x75, 0x1b, // jne out
			0x85, 0xff, // test edi, edi: CLOCK_REALTIME
			0x74, 0x0a, // je add
			0x83, 0xff, 0x05, // cmp edi, CLOCK_REALTIME_COARSE
			0x74, 0x05, // je add
			0x83, 0xff, 0x0b, // cmp edi, CLOCK_TAI
			0x75, 0x0d, // jne out
			0x48, 0xb9, // add: mov rcx, offset
		}, offset, []byte{
			0x48, 0x01, 0x0e, // add [rsi], rcx
			0xc3, // out: ret
		})
	}},
	{"__vdso_gettimeofday", func(offset int64) []byte {
		return join([]byte{
			0xb8, 0x60, 0, 0, 0, // mov eax, gettimeofday
			0x0f, 0x05, // syscall
			0x85, 0xc0, // test eax, eax
			0x75, 0x12, // jne out
			0x48, 0x85, 0xff, // test rdi, rdi
			0x74, 0x0d, // je out
			0x48, 0xb9, // mov rcx, offset
		}, offset, []byte{
			0x48, 0x01, 0x0f, // add [rdi], rcx
			0xc3, // out: ret
		})
	}},
	{"__vdso_time", func(offset int64) []byte {
		return join([]byte{
			0xb8, 0xc9, 0, 0, 0, // mov eax, time
			0x0f, 0x05, // syscall
			0x48, 0xb9, // mov rcx, offset
		}, offset, []byte{
			0x48, 0x01, 0xc8, // add rax, rcx
			0x48, 0x85, 0xff, // test rdi, rdi
			0x74, 0x03, // je out
			0x48, 0x89, 0x07, // mov [rdi], rax
			0xc3, // out: ret
		})
	}},
}

func join(before []byte, offset int64, after []byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint64(before, uint64(offset)), after) //nolint:gosec // the machine's own form of a negative number
}

// function is a reading in the image of the vDSO: where it stands, what the kernel has put there, and what is to be there instead.
type function struct {
	at       uint64 // from the image's beginning
	original []byte
	code     func(offset int64) []byte
}

// functions finds the readings in this process's own vDSO, which is the same in all of them.
func functions() ([]function, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("jump of a clock: this machine is %s, the code for it is written for amd64 only", runtime.GOARCH)
	}
	image, err := ownImage()
	if err != nil {
		return nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read vDSO: %w", err)
	}
	var found []function
	for _, r := range readings {
		at := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == r.symbol })
		if at < 0 {
			return nil, fmt.Errorf("read vDSO: it has no %s", r.symbol)
		}
		s, length := symbols[at], uint64(len(r.code(0)))
		if s.Size < length || s.Value+length > uint64(len(image)) {
			return nil, fmt.Errorf("read vDSO: %s has %d bytes, the code in its place %d", r.symbol, s.Size, length)
		}
		found = append(found, function{s.Value, slices.Clone(image[s.Value : s.Value+length]), r.code})
	}
	return found, nil
}

// ownImage is the vDSO of this process.
func ownImage() ([]byte, error) {
	base, err := imageBase(os.Getpid())
	if err != nil {
		return nil, err
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, fmt.Errorf("read vDSO: %w", err)
	}
	defer func() { _ = memory.Close() }()
	var image []byte
	for page := make([]byte, os.Getpagesize()); ; {
		if _, err := memory.ReadAt(page, int64(base)+int64(len(image))); err != nil { //nolint:gosec // addresses of a process are below 2^63
			break // behind its last page
		}
		image = append(image, page...)
	}
	if len(image) == 0 {
		return nil, errors.New("read vDSO: it cannot be read")
	}
	return image, nil
}

// imageBase is where a process has its vDSO, from what the kernel has told it at its start.
func imageBase(pid int) (uint64, error) {
	const sysinfo = 33 // AT_SYSINFO_EHDR
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, fmt.Errorf("find vDSO of process %d: %w", pid, err)
	}
	for ; len(content) >= 16; content = content[16:] {
		if binary.LittleEndian.Uint64(content) == sysinfo {
			return binary.LittleEndian.Uint64(content[8:]), nil
		}
	}
	return 0, fmt.Errorf("find vDSO of process %d: it has none", pid)
}

// wholeSeconds is an offset as the code takes it.
func wholeSeconds(offset time.Duration) int64 { return int64(offset / time.Second) }
