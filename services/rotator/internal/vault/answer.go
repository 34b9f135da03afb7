package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/config"
)

const (
	// answerTimeout bounds one request for a user: the client's own limit does not cover raw answers.
	answerTimeout = 20 * time.Second
	// answerLimit is more than any answer with a user has.
	answerLimit = 64 << 10
)

// MalformedError is an answer of Vault's that is refused. Its text is ours: what is wrong with which field.
type MalformedError struct{ Problems []string }

func (e *MalformedError) Error() string {
	return "Vault's answer is malformed: " + strings.Join(e.Problems, "; ")
}

// Refusal is the status with which Vault has refused; 0 when it has not.
func Refusal(err error) int {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

// make asks for a user of a role. The answer is read strictly, for what is wrong in it would be found out by whoever runs on it: every field must be there and be of
// its kind. One that is refused is told with all that is wrong, and the lease that it names, readable or not, is given back.
func (e *Engine) make(ctx context.Context, role string) (Secret, error) {
	kind, body, err := e.fetch(ctx, "database/creds/"+role)
	var refused *api.ResponseError
	if errors.As(err, &refused) || err != nil && len(body) == 0 {
		return Secret{}, fmt.Errorf("make a user of role %s: %w", role, err)
	}
	lease, problems := readLease(body, kind, role)
	if err != nil {
		problems = append(problems, "it ends early")
	}
	if len(problems) == 0 {
		return lease, nil
	}
	wrong := fmt.Errorf("make a user of role %s: %w", role, &MalformedError{problems})
	if err != nil {
		wrong = fmt.Errorf("%w: %w", wrong, err)
	}
	err = wrong
	if id := namedLease(body); strings.HasPrefix(id, "database/creds/"+role+"/") { // and not what is somebody else's
		err = errors.Join(err, e.giveBack(ctx, id))
	}
	return Secret{}, err
}

// fetch gives what the server answers, also where it breaks off.
func (e *Engine) fetch(ctx context.Context, path string) (kind string, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := e.client.Logical().ReadRawWithContext(ctx, path)
	if answer != nil {
		defer answer.Body.Close()
	}
	if err != nil {
		return "", nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("status %d, want 200", answer.StatusCode)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	return answer.Header.Get("Content-Type"), body, err
}

// readLease reads an answer with a user, or says all that is wrong with it. The password is in no problem.
func readLease(body []byte, kind, role string) (lease Secret, problems []string) {
	var answer struct {
		ID        any `json:"lease_id"`
		Duration  any `json:"lease_duration"`
		Renewable any `json:"renewable"`
		Data      any `json:"data"`
	}
	reader := json.NewDecoder(strings.NewReader(string(body)))
	reader.UseNumber()
	if err := reader.Decode(&answer); err != nil || reader.More() {
		return lease, []string{fmt.Sprintf("%d bytes of type %q are no JSON object with a lease, want {\"lease_id\": ..., \"data\": {...}}", len(body), kind)}
	}
	bad := func(field string, value any, want string) {
		problems = append(problems, field+" is "+shown(value)+": want "+want)
	}
	id, _ := answer.ID.(string)
	if prefix := "database/creds/" + role + "/"; !strings.HasPrefix(id, prefix) || id == prefix {
		bad("lease_id", answer.ID, "one that begins with "+prefix)
	}
	life, ok := lifeOf(answer.Duration)
	if !ok {
		bad("lease_duration", answer.Duration, "a number of seconds above 0")
	}
	renewable, ok := answer.Renewable.(bool)
	if !ok {
		bad("renewable", answer.Renewable, "true or false")
	}
	login, ok := answer.Data.(map[string]any)
	if !ok {
		bad("data", answer.Data, "an object with "+FieldUser+" and "+FieldPassword)
	}
	user, _ := login[FieldUser].(string)
	if ok && user == "" {
		bad(FieldUser, login[FieldUser], "a name")
	}
	password, _ := login[FieldPassword].(string)
	if ok && password == "" {
		problems = append(problems, FieldPassword+" is missing or no text: want text")
	}
	most := life // one that cannot be renewed ends with its first life
	if renewable {
		most = math.MaxInt64
	}
	return Secret{ID: id, User: user, TTL: life, MaxTTL: most, Fields: map[string]config.Secret{
		FieldUser: config.Secret(user), FieldPassword: config.Secret(password),
	}}, problems
}

// shown is a value as far as it cannot hold a secret, and as far as people read.
func shown(value any) string {
	switch v := value.(type) {
	case nil:
		return "missing"
	case string:
		return fmt.Sprintf("%.80q", v)
	case json.Number, bool:
		return fmt.Sprintf("%.80v", v)
	}
	return "an object or a list"
}

// lifeOf reads a number of seconds that can be planned with.
func lifeOf(value any) (time.Duration, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	seconds, err := number.Int64()
	if err != nil || seconds <= 0 || seconds > math.MaxInt64/int64(time.Second) {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

var leaseID = regexp.MustCompile(`"lease_id"\s*:\s*("(?:[^"\\]|\\.)*")`)

// namedLease finds the lease in an answer that cannot be read otherwise.
func namedLease(body []byte) (id string) {
	if found := leaseID.FindSubmatch(body); found != nil {
		_ = json.Unmarshal(found[1], &id) // empty when it is no text
	}
	return id
}
