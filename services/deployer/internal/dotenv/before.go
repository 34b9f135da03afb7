package dotenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Keep copies a file as it is to another name, 0600 with the same owner. A copy that is there already stays: it is of before.
func Keep(file, copied string) error {
	if _, err := os.Lstat(copied); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	content, info, err := load(file)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Refused{file, "is on a system without owners"}
	}
	return replace(copied, content, owner)
}

// GiveBack makes the lines of the keys what they are in the copy, byte by byte, and leaves all other lines. A copy that is not there is an os.ErrNotExist, and nothing was touched.
func GiveBack(file, copied string, keys ...string) error {
	if _, err := os.Lstat(copied); err != nil {
		return fmt.Errorf("read what the environment file held before: %w", err)
	}
	was, _, err := load(copied)
	if err != nil {
		return err
	}
	content, info, err := load(file)
	if err != nil {
		return err
	}
	next, err := restore(content, was, keys)
	if err != nil {
		return &Refused{file, err.Error()}
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Refused{file, "is on a system without owners"}
	}
	if bytes.Equal(next, content) {
		return nil
	}
	return replace(file, next, owner)
}

// restore gives the content with the keys' lines of another one. A key that stands there several times gets them in their order.
func restore(content, was []byte, keys []string) ([]byte, error) {
	before := map[string][][]byte{}
	for _, key := range keys {
		before[key] = nil
	}
	for line := range lines(was) {
		if held, wanted := before[line.key]; wanted {
			before[line.key] = append(held, bytes.TrimSuffix(line.text, []byte("\n")))
		}
	}
	var out bytes.Buffer
	found := map[string]int{}
	for line := range lines(content) {
		held := before[line.key]
		if len(held) == 0 {
			out.Write(line.text)
			continue
		}
		out.Write(held[min(found[line.key], len(held)-1)])
		if bytes.HasSuffix(line.text, []byte("\n")) {
			out.WriteByte('\n')
		}
		found[line.key]++
	}
	for _, key := range keys {
		if found[key] == 0 {
			return nil, fmt.Errorf("has no line %s= any more, or had none before", key)
		}
	}
	return out.Bytes(), nil
}
