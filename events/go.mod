module github.com/ofitec/ofitec/events

go 1.26.0
