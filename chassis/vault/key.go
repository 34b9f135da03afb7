package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/notice"
)

// keyField is where a key stands in its secret.
const keyField = "key"

// loginLook is the pause between two looks whether the first login is there, tokenLook while there is none; KV v2 keeps ten versions unless told.
const (
	loginLook   = 20 * time.Millisecond
	tokenLook   = 500 * time.Millisecond
	keyLookBack = 10
)

// keyPath is a path as KV v2 takes it behind the mount.
var keyPath = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

// BelowSecret says whether a path can be read by Key: one of KV v2 behind the mount secret/, without that and without its data/.
func BelowSecret(path string) bool {
	return keyPath.MatchString(path) && !strings.HasPrefix(path, "secret/")
}

// KeysWithin is how long a program that does its work and ends waits for its keys; a service waits as long as it takes.
const KeysWithin = 15 * time.Second

// Key reads the newest version of a key below the mount secret/, which must be sound. One without a key is an error, since what is made by an older one has to be made anew.
func (c *Client) Key(ctx context.Context, path string, sound func(text string) error) (string, error) {
	_, newest, err := c.newest(ctx, path)
	if err != nil {
		return "", err
	}
	if err := sound(newest); err != nil {
		return "", fmt.Errorf("secret/%s: %w", path, err)
	}
	return newest, nil
}

// Keys reads the newest version and the newest before it that is still there, "" for none. Numbers that were deleted or destroyed are passed over below the newest.
func (c *Client) Keys(ctx context.Context, path string) (newest, before string, err error) {
	number, newest, err := c.newest(ctx, path)
	if err != nil {
		return "", "", err
	}
	for n := number - 1; n > 0 && n > number-keyLookBack && before == ""; n-- {
		if _, before, err = c.version(ctx, path, n); err != nil {
			return "", "", err
		}
	}
	return newest, before, nil
}

func (c *Client) newest(ctx context.Context, path string) (number int64, key string, err error) {
	number, key, err = c.version(ctx, path, 0)
	if err == nil && key == "" {
		err = fmt.Errorf("read secret/%s: the newest version has no text in field %q", path, keyField)
	}
	return number, key, err
}

// version reads one; 0 is the newest.
func (c *Client) version(ctx context.Context, path string, number int64) (found int64, key string, err error) {
	answer, err := c.Logical().ReadWithDataWithContext(ctx, "secret/data/"+path, map[string][]string{"version": {strconv.FormatInt(number, 10)}})
	switch {
	case err != nil:
		return 0, "", fmt.Errorf("read secret/%s: %w", path, err)
	case answer == nil && number > 0:
		return number, "", nil
	case answer == nil:
		return 0, "", fmt.Errorf("read secret/%s: it is not there", path)
	}
	about, _ := answer.Data["metadata"].(map[string]any)
	text, _ := about["version"].(json.Number)
	if found, err = text.Int64(); err != nil {
		return 0, "", fmt.Errorf("read secret/%s: the answer has no version number: is it of a KV engine of version 2?", path)
	}
	data, _ := answer.Data["data"].(map[string]any)
	key, _ = data[keyField].(string)
	return found, key, nil
}

// Within reads what a program cannot begin without, for one that does its work and ends: it logs in, tries until read succeeds or the time is over.
func Within(ctx context.Context, s chassis.Settings, limit time.Duration, read func(context.Context, *Client) error) error {
	client, err := Connect(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return client.await(ctx, func(ctx context.Context) error { return read(ctx, client) }, func(error) {})
}

// Before reads what a service cannot begin without. While Vault is away, sealed or refuses, the service is alive and not ready, says why, and tries again; a nil error with ctx ended means
// that it was stopped meanwhile.
func Before(ctx context.Context, name string, s chassis.Settings, read func(context.Context, *Client) error) error {
	client, err := Connect(s)
	if err != nil {
		return err
	}
	service, err := chassis.New(name, s) //nolint:contextcheck // it begins nothing that a context could end
	if err != nil {
		return err
	}
	var why atomic.Value
	why.Store(errNotRead)
	service.Health.Register("keys", func(context.Context) error { return why.Load().(reason).error })
	Observe(ctx, service.Metrics, client)
	failing := notice.New(service.Log, "what Vault has to give first was not read", nil)
	service.Add("keys", func(ctx context.Context) error {
		err := client.await(ctx, func(ctx context.Context) error { return read(ctx, client) }, func(err error) {
			why.Store(reason{err})
			failing.Note(err)
		})
		if ctx.Err() == nil {
			failing.Note(err)
		}
		return err
	})
	return service.Run(ctx)
}

// reason lets an atomic.Value hold errors of all types.
type reason struct{ error }

var errNotRead = reason{errors.New("not read from Vault yet")}

// await holds a token of its own and reads until that succeeds or ctx ends; failed hears of each failure. The error is the last failure's, with that of ctx.
func (c *Client) await(ctx context.Context, read func(context.Context) error, failed func(error)) error {
	holding, stop := context.WithCancel(ctx)
	held := make(chan struct{})
	go func() {
		defer close(held)
		_ = c.Hold(holding) // ends with its context
	}()
	defer func() {
		stop()
		<-held
	}()
	for refused := 0; ; {
		pause, err := tokenLook, c.token()
		switch {
		case err != nil && !c.tried():
			pause = loginLook
		case err != nil:
			failed(err)
		default:
			if err = read(ctx); err == nil {
				return nil
			}
			failed(err)
			c.Doubt() // the token may be dead, as after somebody has revoked it or restored Vault from a backup, and would be kept for hours
			pause = attempts[min(refused, len(attempts)-1)]
			refused++
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// tried says that a login has been tried.
func (c *Client) tried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last != nil
}
