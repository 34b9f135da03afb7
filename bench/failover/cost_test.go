package main

import (
	"os"
	"testing"
	"time"
)

func TestTheBenchmarksRatesAreRead(t *testing.T) {
	rates, err := ratesOf("cpu: AMD EPYC\nBenchmarkDecideHeard \t  359938\t      3239 ns/op\t   1852215 observations/s\nBenchmarkDecideHeard \t 1\t 2 ns/op\t 1.5e+06 observations/s\nPASS\n")
	if err != nil || len(rates) != 2 || rates[0] != 1852215 || rates[1] != 1.5e6 {
		t.Errorf("%v, %v", rates, err)
	}
	if _, err := ratesOf("PASS\n"); err == nil {
		t.Error("no rate is taken for one")
	}
}

func TestTheUseOfAProcessIsReadFromTheKernel(t *testing.T) {
	before, err := usageOf(os.Getpid())
	if err != nil || before.memory < 1<<20 {
		t.Fatalf("%+v, %v", before, err)
	}
	for began := time.Now(); time.Since(began) < 200*time.Millisecond; {
		_ = time.Now()
	}
	after, err := usageOf(os.Getpid())
	if used := after.cpu - before.cpu; err != nil || used < 20*time.Millisecond || used > 10*time.Second {
		t.Errorf("200 ms of work took %s, %v", used, err)
	}
}
