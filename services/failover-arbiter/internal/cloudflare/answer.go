package cloudflare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// answer is the envelope of every result.
type answer struct {
	Success bool            `json:"success"`
	Errors  []problem       `json:"errors"`
	Result  json.RawMessage `json:"result"`
}

type problem struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Chain   []problem `json:"error_chain"` // the real reason, where it has one
}

// The codes that tell of another writer: a record that is to be deleted or replaced is gone, or one like it is there already.
const (
	codeGone      = 81044
	codeIdentical = 81058
)

// read takes the result out of an answer, or tells what is wrong.
func read(response *http.Response, content []byte, result any) error {
	if response.StatusCode == http.StatusTooManyRequests {
		return &dns.BusyError{Provider: "Cloudflare", For: rest(response.Header.Get("Retry-After"))}
	}
	var a answer
	if err := json.Unmarshal(content, &a); err != nil {
		return fmt.Errorf("cloudflare answers %s, and nothing that its API would say", response.Status)
	}
	var said []string
	for _, p := range a.Errors {
		for _, p := range append([]problem{p}, p.Chain...) {
			said = append(said, fmt.Sprintf("%s (%d)", p.Message, p.Code))
			if p.Code == codeGone || p.Code == codeIdentical {
				return fmt.Errorf("%w (Cloudflare: %s)", dns.ErrChanged, said[len(said)-1])
			}
		}
	}
	if response.StatusCode != http.StatusOK || !a.Success {
		return fmt.Errorf("cloudflare answers %s: %s", response.Status, strings.Join(said, ", "))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("read Cloudflare's result: %w", err)
	}
	return nil
}

// rest is how long Cloudflare wants to be left alone: what it says, within what a failover can bear and its quota needs.
func rest(after string) time.Duration {
	seconds, err := strconv.Atoi(after)
	if err != nil {
		return 30 * time.Second
	}
	return min(max(time.Duration(seconds)*time.Second, time.Second), 5*time.Minute)
}
