package main

import "github.com/ofitec/ofitec/chassis"

// Config is what the etl-ingest reads.
type Config struct {
	chassis.Settings `yaml:",inline"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings()}
	c.Region = "a"
	c.HTTPAddr = "127.0.0.1:8705"
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	return append(c.Settings.Problems(), c.NATS.Required()...)
}
