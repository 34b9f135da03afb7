# What a newcomer needs is `make run` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULES  := $(shell sed -n 's/^\t\.\/\(.*\)/\1/p' go.work)
SERVICES := console deployer etl-ingest etl-transform failover-arbiter health-probe rotator
SOAK     ?= 2h
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
BUILD    := go build -trimpath -ldflags "-X github.com/ofitec/ofitec/chassis/buildinfo.version=$(VERSION)"

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build
build: ## the services and the operator's command, into bin/
	@mkdir -p bin
	@for service in $(SERVICES); do echo "build $$service"; (cd services/$$service && $(BUILD) -o ../../bin/$$service .); done
	@echo "build odoo-standin"; cd deploy/local && $(BUILD) -o ../../bin/odoo-standin ./cmd/odoo
	@echo "build ofitec"; cd deploy/ofitec && $(BUILD) -o ../../bin/ofitec .

.PHONY: run
run: build ## the three-region stack in the foreground; Ctrl-C stops all of it
	@bin/ofitec up

.PHONY: setup
setup: build ## what the stack needs and is missing: Debian packages (as root), servers built once into a cache
	@bin/ofitec setup

.PHONY: check
check: ## the fast loop: format, vet, and the tests that need no servers (under 2 minutes)
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	@failed=""; for module in $(MODULES); do (cd $$module && go vet ./... && go test -short ./...) || failed="$$failed $$module"; done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

.PHONY: test
test: setup ## everything that CI runs: all modules with the race detector, then the real stack
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	@failed=""; for module in $(MODULES); do \
		echo "== $$module"; \
		(cd $$module && GOWORK=off go mod tidy -diff && GOWORK=off go build -o /dev/null ./... && go vet ./... && go test -race -timeout 15m ./...) || failed="$$failed $$module"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
	@$(MAKE) --no-print-directory stack-test

.PHONY: stack-test
stack-test: ## the real stack of three regions, started and tried; alone on the machine, without the race detector
	@cd deploy/ofitec && OFITEC_STACK_TEST=1 go test -count=1 -timeout 25m -v -run '^TestStack(IsWhatItSays|Parted)$$' .

.PHONY: generate
generate: ## schemas, AsyncAPI and references from the code; CI fails when they differ
	@for module in $(MODULES); do (cd $$module && go generate ./...); done

.PHONY: lint
lint: ## golangci-lint over all modules; built once into the cache
	@tools/lint $(MODULES)

.PHONY: drills
drills: build ## long proofs on the real stack, with dated evidence under docs/evidence/ (OFITEC_DRILLS_LONG=1: ten minutes apart, too)
	@cd services/deployer && OFITEC_DRILLS=1 go test -count=1 -timeout 1h -v -run 'Rotations|Killed' .
	@cd services/rotator && OFITEC_DRILLS=1 go test -count=1 -timeout 30m -v -run 'Backup|Failover' .
	@cd deploy/local && OFITEC_DRILLS=1 go test -count=1 -timeout 30m -v -run TakenBack ./bootstrap
	@cd services/failover-arbiter && OFITEC_DRILLS=1 go test -count=1 -timeout 30m -v -run 'Synchronous|Witness|FullDisk|Store|KilledAt' .
	@cd deploy/ofitec && OFITEC_STACK_TEST=1 OFITEC_DRILLS=1 go test -count=1 -timeout 4h -v -run '^TestStackDrills' .

.PHONY: soak
soak: build ## components killed at random for hours (SOAK=2h), with evidence
	@cd deploy/ofitec && OFITEC_STACK_TEST=1 OFITEC_SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run '^TestStackSoak$$' .

.PHONY: bench
bench: build ## side-by-side measurements, about an hour, alone on the machine; ratios and spread go under docs/evidence/
	@tools/bench "events" "failover -decide" "rotation -many" "etl -ingest" "etl -load" "etl -marts" "etl -publish" "etl -page" "failover"

.PHONY: clean
clean: ## what a build has left; the data folder stays
	@rm -rf bin
