module github.com/ofitec/ofitec/deploy/local

go 1.26.0
