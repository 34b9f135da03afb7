module github.com/ofitec/ofitec/bench

go 1.26.0
