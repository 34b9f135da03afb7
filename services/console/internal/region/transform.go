package region

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
)

// status is the part of etl-transform's /v1/status that the page shows.
type status struct {
	Failure  string `json:"failure"`
	Datasets []struct {
		Dataset     string     `json:"dataset"`
		Rows        *int64     `json:"rows"`
		AsOf        *time.Time `json:"asof"`
		Quarantined *int64     `json:"quarantined"`
	} `json:"datasets"`
}

// Transform asks the etl-transform at an address what it has of each dataset.
func (a *Asker) Transform(ctx context.Context, r events.Region, addr string) (board.Transform, error) {
	code, body, err := a.get(ctx, "http://"+addr+"/v1/status")
	if err != nil {
		return board.Transform{}, fmt.Errorf("ask etl-transform in region %s: %s", r, plain(err))
	}
	if code != http.StatusOK {
		return board.Transform{}, fmt.Errorf("ask etl-transform in region %s: status %d", r, code)
	}
	var told status
	if err := json.Unmarshal(body, &told); err != nil {
		return board.Transform{}, fmt.Errorf("ask etl-transform in region %s: %w", r, err)
	}
	answer := board.Transform{Region: r, Failure: told.Failure}
	for _, d := range told.Datasets {
		if d.Dataset != "" {
			answer.Datasets = append(answer.Datasets, board.Dataset{Name: d.Dataset, Rows: d.Rows, AsOf: d.AsOf, Quarantined: d.Quarantined})
		}
	}
	return answer, nil
}
