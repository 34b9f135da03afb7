package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Fields of a staged credential. A version without a user holds the number of one that was rejected.
const (
	fieldUser     = "username"
	fieldPassword = "password"
	fieldVoid     = "void"
)

// Stored is the current version at the path, 0 when there is none.
func (e *Engine) Stored(ctx context.Context) (int64, error) {
	answer, err := e.client.Logical().ReadWithContext(ctx, "secret/metadata/"+e.path)
	if err != nil {
		return 0, fmt.Errorf("read versions of %s: %w", e.path, err)
	}
	if answer == nil {
		return 0, nil
	}
	number, ok := answer.Data["current_version"].(json.Number)
	if !ok {
		return 0, fmt.Errorf("read versions of %s: Vault's answer has no current_version", e.path)
	}
	version, err := number.Int64()
	if err != nil {
		return 0, fmt.Errorf("read versions of %s: %w", e.path, err)
	}
	return version, nil
}

// Stage writes a login as exactly this version. Check-and-set keeps out a rotator that was overtaken; one that stands there already as ours is staged.
func (e *Engine) Stage(ctx context.Context, number int64, login Login) error {
	err := e.put(ctx, number, map[string]any{fieldUser: login.User, fieldPassword: login.Password.Reveal()})
	if err == nil {
		return nil
	}
	if ours, readErr := e.Holds(ctx, number, login.User); readErr == nil && ours {
		return nil
	}
	return fmt.Errorf("stage version %d of %s: %w", number, e.path, err)
}

// Burn uses a number up, so that KV v2 and the rotator go on counting alike.
func (e *Engine) Burn(ctx context.Context, number int64) error {
	if err := e.put(ctx, number, map[string]any{fieldVoid: "rejected"}); err != nil {
		if stored, readErr := e.Stored(ctx); readErr == nil && stored >= number {
			return nil
		}
		return fmt.Errorf("use up version %d of %s: %w", number, e.path, err)
	}
	return nil
}

func (e *Engine) put(ctx context.Context, number int64, data map[string]any) error {
	answer, err := e.client.Logical().WriteWithContext(ctx, "secret/data/"+e.path, map[string]any{"data": data, "options": map[string]any{"cas": number - 1}})
	if err != nil {
		return err
	}
	if answer == nil || fmt.Sprint(answer.Data["version"]) != strconv.FormatInt(number, 10) {
		return errors.New("Vault has stored another version")
	}
	return nil
}

// Holds says whether a version is the login of a user.
func (e *Engine) Holds(ctx context.Context, number int64, user string) (bool, error) {
	answer, err := e.client.Logical().ReadWithDataWithContext(ctx, "secret/data/"+e.path, map[string][]string{"version": {strconv.FormatInt(number, 10)}})
	if err != nil {
		return false, fmt.Errorf("read version %d of %s: %w", number, e.path, err)
	}
	if answer == nil {
		return false, nil
	}
	data, _ := answer.Data["data"].(map[string]any)
	return user != "" && data[fieldUser] == user, nil
}
