module github.com/ofitec/ofitec/deploy

go 1.26.0
