package main

import (
	"strings"
	"testing"
)

func TestWarehousesOfTwoRegionsAreComparedWhenTheyAreOfTheSameRecordsAlone(t *testing.T) {
	one := func(change func(v *verifiedRegion)) verifiedRegion {
		v := verifiedRegion{Digests: map[string]string{"mart_a": "1-x", "mart_b": "2-y"}, Tables: []string{"mart_a", "mart_b"}}
		v.Made.Rules, v.Made.Models, v.Made.TokenKey, v.Made.Sequence = "4", "m", "k", 7
		change(&v)
		return v
	}
	same := one(func(*verifiedRegion) {})
	for sentence, c := range map[string]struct {
		other verifiedRegion
		equal bool
		why   string
	}{
		"equal":                   {one(func(v *verifiedRegion) { v.Made.Load = 99 }), true, ""},
		"a table differs":         {one(func(v *verifiedRegion) { v.Digests["mart_b"] = "2-z" }), false, "tables differ: mart_b"},
		"one is a record ahead":   {one(func(v *verifiedRegion) { v.Made.Sequence = 8 }), false, "cannot be compared: manifest record 7 and 8"},
		"another token key":       {one(func(v *verifiedRegion) { v.Made.TokenKey = "j" }), false, "token key k and j"},
		"other models":            {one(func(v *verifiedRegion) { v.Made.Models = "n" }), false, "models and checks m and n"},
		"one has a table more":    {one(func(v *verifiedRegion) { v.Tables = append(v.Tables, "mart_c") }), false, "tables differ"},
		"made by an older rule":   {one(func(v *verifiedRegion) { v.Made.Rules = "3" }), false, "rules 4 and 3"},
		"erasures":                {one(func(v *verifiedRegion) { v.Made.Erasures = 1 }), false, "cannot be compared: erasures 0 and 1"},
		"a table that is missing": {one(func(v *verifiedRegion) { delete(v.Digests, "mart_a") }), false, "tables differ: mart_a"},
	} {
		if v := judgeRegions(same, c.other); v.Equal != c.equal || !strings.Contains(v.Why, c.why) {
			t.Errorf("%s: %+v", sentence, v)
		}
	}
}
