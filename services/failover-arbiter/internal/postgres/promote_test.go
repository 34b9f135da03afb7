package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

func TestAHistorySaysWhereEachTimelineWasLeft(t *testing.T) {
	history := "1\t0/3000148\tno recovery target specified\n\n# a remark\n2\t0/51A2B30\tno recovery target specified\n"
	for timeline, want := range map[int]events.LSN{0: 0x51A2B30, 1: 0x3000148, 2: 0x51A2B30} {
		if got, err := fork(history, timeline); err != nil || got != want {
			t.Errorf("timeline %d was left at %s, %v; want %s", timeline, got, err, want)
		}
	}
	if got, err := fork(history, 3); err == nil {
		t.Errorf("timeline 3 is not in the history, but was left at %s", got)
	}
}

func TestADoorThatDoesNotAnswerHasRefusedNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, door := range []Door{{Address: "127.0.0.1:1", Source: "127.0.0.1"}, {Address: "127.0.0.1:1", Source: "nowhere"}, {Address: "nowhere", Source: "127.0.0.1"}} {
		if err := door.Refuses(ctx); err == nil {
			t.Errorf("%+v: refused", door)
		}
	}
	if err := (Door{Address: "127.0.0.1:1", Source: "127.0.0.1"}).Refuses(ctx); !errors.Is(err, ErrNotRefused) {
		t.Errorf("got %v", err)
	}
}
