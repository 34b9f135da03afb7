package warehouse

import (
	"testing"

	"github.com/ofitec/ofitec/events"
)

func TestALoadTellsRowsAndBytesWrittenAndTheTimeOfEachStage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.load(t, b.file("thing", "rows", lines("1,7,red,1,2026-01-01T00:00:00Z", "2,,red,1,2026-01-01T00:00:00Z"), 1))
	// Two rows of stage, hub, satellite and mart; one of the owner's hub, the link and the period.
	if first.Volume.Rows != 4*2+3 || first.Volume.Bytes < 11*16 {
		t.Errorf("the first load has written %+v, want 11 rows", first.Volume)
	}
	again := b.load(t, b.file("thing", "rows", lines("1,7,red,1,2026-01-01T00:00:00Z"), 2))
	if again.Volume.Rows != 1 { // that it was seen later
		t.Errorf("what was known has written %+v, want 1 row", again.Volume)
	}
	pending, err := b.Pending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []events.WarehouseLoaded
	for _, entry := range pending {
		event, err := events.Decode(entry.Data)
		if err != nil {
			t.Fatal(err)
		}
		if event.Type == events.TypeWarehouseLoaded {
			payload, err := events.PayloadOf[events.WarehouseLoaded](event)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, payload)
		}
	}
	if len(told) != 2 || told[0].Written != first.Volume || told[1].Written != again.Volume {
		t.Fatalf("told is %+v, want %+v and %+v", told, first.Volume, again.Volume)
	}
	for _, stage := range []string{"read", "stage", "vault", "marts"} {
		if told[0].Seconds[stage] <= 0 {
			t.Errorf("stage %s took %v s", stage, told[0].Seconds[stage])
		}
	}
}
