module github.com/ofitec/ofitec/deploy/ofitec

go 1.26.0

replace (
	github.com/ofitec/ofitec/chassis => ../../chassis
	github.com/ofitec/ofitec/deploy => ..
	github.com/ofitec/ofitec/deploy/local => ../local
	github.com/ofitec/ofitec/events => ../../events
)

require (
	github.com/ofitec/ofitec/chassis v0.0.0
	github.com/ofitec/ofitec/deploy/local v0.0.0
	github.com/ofitec/ofitec/events v0.0.0
	github.com/spf13/cobra v1.10.2
)
