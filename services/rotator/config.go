package main

import (
	"slices"

	"github.com/ofitec/ofitec/chassis"
)

// Config is what the rotator reads.
type Config struct {
	chassis.Settings `yaml:",inline"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings()}
	c.HTTPAddr = "127.0.0.1:8703"
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	return slices.Concat(c.Settings.Problems(), c.NATS.Required(), c.Etcd.Required())
}
