// Package region asks the services of a region over HTTP: the arbiter for its right to write, etl-transform for its datasets.
package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
)

const (
	answerWithin = time.Second
	answerLimit  = 1 << 20
)

// Asker asks. It is safe for concurrent use.
type Asker struct{ client *http.Client }

// NewAsker makes one that keeps no connection open: a lost region must not hold answers back.
func NewAsker() *Asker {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: answerWithin}).DialContext}
	return &Asker{&http.Client{Transport: transport, Timeout: answerWithin}}
}

// Arbiter asks the arbiter at an address. One that does not answer is an answer too.
func (a *Asker) Arbiter(ctx context.Context, r events.Region, addr string) board.Answer {
	answer := board.Answer{Region: r}
	yes, why, err := a.yes(ctx, "http://"+addr+"/mandate")
	if err != nil {
		answer.Reason = plain(err)
		return answer
	}
	answer.Reached, answer.Mandate, answer.Reason = true, yes, why
	if yes || !r.HoldsData() {
		return answer
	}
	if yes, why, err = a.yes(ctx, "http://"+addr+"/standby"); err == nil {
		answer.Standby = yes
		if !yes && why != "" {
			answer.Reason = why
		}
	}
	return answer
}

func (a *Asker) yes(ctx context.Context, address string) (bool, string, error) {
	status, body, err := a.get(ctx, address)
	if err != nil {
		return false, "", err
	}
	var told struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(body, &told) // the status is the answer, the reason a courtesy
	return status == http.StatusOK, told.Reason, nil
}

func (a *Asker) get(ctx context.Context, address string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", address, err)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", address, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", address, err)
	}
	return response.StatusCode, body, nil
}

// plain is an error without the address and the nesting: what a person needs.
func plain(err error) string {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Sprintf("no answer within %s", answerWithin)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
