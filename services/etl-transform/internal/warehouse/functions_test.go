package warehouse

import "testing"

func TestTheFunctionsOfTheMartsRoundOnceAndNeverThroughAFloat(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for expression, want := range map[string]string{
		"ratio(1::DECIMAL(18,2), 3::DECIMAL(18,2))":                                                                         "0.333333",
		"ratio(2::DECIMAL(18,2), 3::DECIMAL(18,2))":                                                                         "0.666667",
		"ratio(-1::DECIMAL(18,2), 2000000::DECIMAL(18,2))":                                                                  "-0.000001", // half, away from zero
		"ratio(1::DECIMAL(18,2), -2::DECIMAL(30,2))":                                                                        "-0.500000",
		"ratio(1::DECIMAL(18,2), 0::DECIMAL(18,2))":                                                                         "",
		"ratio(NULL::DECIMAL(18,2), 1::DECIMAL(18,2))":                                                                      "",
		"ratio(99999999999999::DECIMAL(18,2), 0.01::DECIMAL(18,2))":                                                         "", // more digits than a ratio has
		"ratio(9999999999999999.99::DECIMAL(18,2), 9999999999999999.99::DECIMAL(18,2))":                                     "1.000000",
		"share(1::DECIMAL(18,2), 900000::DECIMAL(18,2), 3::DECIMAL(18,2))":                                                  "300000.00",
		"share(-1::DECIMAL(18,2), 0.01::DECIMAL(18,2), 2::DECIMAL(18,2))":                                                   "-0.01",
		"share(9007199254740993::DECIMAL(18,2), 9007199254740993::DECIMAL(18,2), 9007199254740993::DECIMAL(18,2))":          "9007199254740993.00", // no float has this one
		"share(9999999999999999.99::DECIMAL(18,2), 9999999999999999.99::DECIMAL(18,2), 9999999999999999.99::DECIMAL(18,2))": "9999999999999999.99",
		"share(1::DECIMAL(18,2), NULL::DECIMAL(18,2), 3::DECIMAL(18,2))":                                                    "",
		"round(-0.5::DECIMAL(3,1), 0)":                                                                                      "-1",
	} {
		b.expect(t, "SELECT CAST("+expression+" AS VARCHAR)", want)
	}
}
