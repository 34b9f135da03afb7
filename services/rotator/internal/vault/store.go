package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
)

// Fields of a staged credential. A version without an id or a user holds the number of one that was rejected. Epoch and term say under which mandate and by which
// leader of the rotators a version was written; what keeps an overtaken one from writing is check-and-set.
const (
	FieldUser     = "username"
	FieldPassword = "password"
	FieldValue    = "value" // of a secret that is one text
	fieldID       = "id"
	fieldEpoch    = "epoch"
	fieldTerm     = "term"
	fieldVoid     = "void"
)

// Fence is who writes a version.
type Fence struct {
	Epoch events.Epoch
	Term  int64
}

// ErrTaken is wrapped when a version's number holds what somebody else has written.
var ErrTaken = errors.New("the number is taken by another writer")

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

// Stage writes a secret as exactly this version. Check-and-set keeps out a rotator that was overtaken; one that stands there already as ours is staged.
func (e *Engine) Stage(ctx context.Context, number int64, secret Secret, by Fence) error {
	data := map[string]any{fieldID: secret.User, fieldEpoch: by.Epoch.String(), fieldTerm: strconv.FormatInt(by.Term, 10)}
	for name, value := range secret.Fields {
		data[name] = value.Reveal()
	}
	err := e.put(ctx, number, data)
	if err == nil {
		return nil
	}
	if stored, readErr := e.Stored(ctx); readErr == nil && stored >= number {
		switch ours, readErr := e.Holds(ctx, number, secret.User); {
		case readErr == nil && ours:
			return nil
		case readErr == nil:
			err = ErrTaken
		}
	}
	return fmt.Errorf("stage version %d of %s: %w", number, e.path, err)
}

// Burn uses a number up, so that KV v2 and the rotator go on counting alike; with it all that are missing below, as in a Vault that was restored to an earlier time.
func (e *Engine) Burn(ctx context.Context, number int64) error {
	void := map[string]any{fieldVoid: "rejected"}
	err := e.put(ctx, number, void)
	if err == nil {
		return nil
	}
	stored, readErr := e.Stored(ctx)
	if readErr != nil || stored == number-1 { // it was the next one, and there is another reason
		return fmt.Errorf("use up version %d of %s: %w", number, e.path, err)
	}
	for next := stored + 1; next <= number; next++ {
		if err := e.put(ctx, next, void); err != nil {
			return fmt.Errorf("use up version %d of %s: %w", next, e.path, err)
		}
	}
	return nil
}

func (e *Engine) put(ctx context.Context, number int64, data map[string]any) error {
	answer, err := e.client.Logical().WriteWithContext(ctx, "secret/data/"+e.path, map[string]any{"data": data, "options": map[string]any{"cas": number - 1}})
	if err != nil {
		return err
	}
	if answer == nil || fmt.Sprint(answer.Data["version"]) != strconv.FormatInt(number, 10) {
		return errors.New("the answer names another version")
	}
	return nil
}

// Destroy makes a version unreadable for good: an old password has no reader. One that is not there is destroyed.
func (e *Engine) Destroy(ctx context.Context, number int64) error {
	if _, err := e.client.Logical().WriteWithContext(ctx, "secret/destroy/"+e.path, map[string]any{"versions": []int64{number}}); err != nil {
		var refused *api.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
			return nil
		}
		return fmt.Errorf("destroy version %d of %s: %w", number, e.path, err)
	}
	return nil
}

// Holds says whether a version is the secret that is known by this user.
func (e *Engine) Holds(ctx context.Context, number int64, user string) (bool, error) {
	fields, err := e.Read(ctx, number)
	return err == nil && user != "" && fields[fieldID].Reveal() == user, err
}

// ReadAt gives the fields that stand at another path; none when there is nothing.
func (e *Engine) ReadAt(ctx context.Context, path string) (map[string]config.Secret, error) {
	other := Engine{client: e.client, path: path}
	return other.Read(ctx, 0)
}

// Read gives a version's fields (0: the newest); one that is not there, or holds no secret, has none. One that others have written has no id: its user is taken for it.
func (e *Engine) Read(ctx context.Context, number int64) (map[string]config.Secret, error) {
	answer, err := e.client.Logical().ReadWithDataWithContext(ctx, "secret/data/"+e.path, map[string][]string{"version": {strconv.FormatInt(number, 10)}})
	if err != nil {
		return nil, fmt.Errorf("read version %d of %s: %w", number, e.path, err)
	}
	if answer == nil {
		return nil, nil
	}
	data, _ := answer.Data["data"].(map[string]any)
	fields := map[string]config.Secret{}
	for name, value := range data {
		text, _ := value.(string)
		fields[name] = config.Secret(text)
	}
	if fields[fieldID] == "" && fields[FieldUser] != "" {
		fields[fieldID] = fields[FieldUser]
	}
	return fields, nil
}
