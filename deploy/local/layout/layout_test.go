package layout

import (
	"reflect"
	"strings"
	"testing"
)

func TestOtherAddressesForTheRegionsMoveTheirProxiesToo(t *testing.T) {
	changed, err := Loopback().WithRegions(map[Region]string{A: "127.0.1.11", C: "127.0.1.13"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (map[Region]string{A: "127.0.1.11", B: "127.0.0.12", C: "127.0.1.13"}); !reflect.DeepEqual(changed.Region, want) {
		t.Errorf("regions are at %v, want %v", changed.Region, want)
	}
	if want := (map[Region]string{A: "127.0.1.111", B: "127.0.0.112"}); !reflect.DeepEqual(changed.ProxySource, want) {
		t.Errorf("proxies leave from %v, want %v", changed.ProxySource, want)
	}
}

func TestNoAddressGivenIsTheAddressingAsItWas(t *testing.T) {
	for _, addressing := range []Addressing{Loopback(), Namespaced()} {
		same, err := addressing.WithRegions(nil)
		if err != nil || !reflect.DeepEqual(same, addressing) {
			t.Errorf("got %+v, %v; want %+v", same, err, addressing)
		}
	}
}

func TestAWrongAddressIsNamedWithItsRegion(t *testing.T) {
	for name, test := range map[string]struct {
		regions map[Region]string
		says    []string
	}{
		"no address":            {map[Region]string{B: "region-b"}, []string{"region b", `"region-b"`, "IPv4"}},
		"IPv6":                  {map[Region]string{A: "::1"}, []string{"region a", `"::1"`}},
		"one for two regions":   {map[Region]string{A: "127.0.0.12"}, []string{"127.0.0.12", "region a", "region b"}},
		"no room for the proxy": {map[Region]string{A: "127.0.0.200"}, []string{"127.0.0.200", "below 155"}},
		"an unknown region":     {map[Region]string{"d": "127.0.0.14"}, []string{`"d"`, "a, b and c"}},
	} {
		_, err := Loopback().WithRegions(test.regions)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, want := range test.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %s", name, err, want)
			}
		}
	}
}
