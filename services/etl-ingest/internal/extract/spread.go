package extract

import "time"

// spreadParts is into how many parts a span of time is cut at once, spreadDepth how often a part that holds too much is cut again, and spreadQuestions what the source is asked at most: each question may
// cost it a reading of what it counts.
const (
	spreadParts     = 16
	spreadDepth     = 4
	spreadQuestions = 128
)

// Spread gives moments that cut from..to into spans of about most rows, as far as rows do not share a moment. count tells how many rows are in a span, its end left out.
func Spread(from, to time.Time, most int64, count func(from, to time.Time) (int64, error)) ([]time.Time, error) {
	var bounds []time.Time
	var held int64 // since the last bound
	asked := 0
	var cut func(from, to time.Time, depth int) error
	cut = func(from, to time.Time, depth int) error {
		step := (to.Sub(from) / spreadParts).Truncate(time.Microsecond)
		for n := range spreadParts {
			begin, end := from.Add(time.Duration(n)*step), from.Add(time.Duration(n+1)*step)
			if n == spreadParts-1 {
				end = to
			}
			if !begin.Before(end) {
				continue
			}
			asked++
			rows, err := count(begin, end)
			if err != nil {
				return err
			}
			if rows > most && depth > 1 && step > time.Microsecond && asked+spreadParts <= spreadQuestions {
				if err := cut(begin, end, depth-1); err != nil {
					return err
				}
				continue
			}
			if held > 0 && rows > 0 && held+rows > most {
				bounds, held = append(bounds, begin), 0
			}
			held += rows
		}
		return nil
	}
	return bounds, cut(from.Truncate(time.Microsecond), to, spreadDepth)
}
