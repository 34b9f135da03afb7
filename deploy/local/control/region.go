package control

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Regions is how a drill takes a region away and brings it back.
type Regions interface {
	// LoseRegion kills every process of a region and keeps it dead; it returns when nothing of it runs any more. A region that is lost already is not lost twice.
	LoseRegion(ctx context.Context, region string, how LossRequest) (Loss, error)
	// RestoreRegion begins to bring a lost region back and returns at once; Status tells how far it is.
	RestoreRegion(region string) error
}

// LossRequest says how a region is lost.
type LossRequest struct {
	// BlackHole cuts its network first, so that nobody hears of the deaths: a kill alone resets connections. It needs a namespace for each region.
	BlackHole bool `json:"black_hole"`
	// Destroy removes its folders, as if its disks were gone with it.
	Destroy bool `json:"destroy"`
}

// Loss is a region that is lost. Times are the machine's.
type Loss struct {
	LossRequest
	At    time.Time `json:"at"`    // just before the first thing was done
	Dead  time.Time `json:"dead"`  // when nothing of it ran any more
	Units int       `json:"units"` // how many components it had
	// Restoring is the step of a restore that is under way; empty when none is.
	Restoring string `json:"restoring,omitempty"`
	// Failed is why the last restore did not succeed.
	Failed string `json:"failed,omitempty"`
}

func serveRegions(mux *http.ServeMux, stack Regions) {
	mux.HandleFunc("POST /v1/regions/{region}/lose", func(w http.ResponseWriter, r *http.Request) {
		how, err := decode[LossRequest](r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		loss, err := stack.LoseRegion(context.WithoutCancel(r.Context()), r.PathValue("region"), how)
		reply(w, loss, err)
	})
	mux.HandleFunc("POST /v1/regions/{region}/restore", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, stack.RestoreRegion(r.PathValue("region")))
	})
}

// BadRequest is an error of the caller.
func BadRequest(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// LoseRegion takes a region away.
func (c *Client) LoseRegion(ctx context.Context, region string, how LossRequest) (Loss, error) {
	var loss Loss
	return loss, c.do(ctx, http.MethodPost, "/v1/regions/"+region+"/lose", how, &loss)
}

// RestoreRegion begins to bring a lost region back.
func (c *Client) RestoreRegion(ctx context.Context, region string) error {
	return c.do(ctx, http.MethodPost, "/v1/regions/"+region+"/restore", nil, nil)
}
