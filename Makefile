# Everything that a person or a CI does with this repository. `make demo` and `make test` work on a Debian machine that
# has nothing but Rust, make and root; each target installs what it needs and says so.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test live lint release bench fuzz red soak image clean

SETUP := tests/live/setup.sh
TOOLS := $(CURDIR)/.work/tools
CLIENT := tests/live/node_modules/socket.io-client/dist/socket.io.min.js
# Arguments of the demo, the live tests or the bench: make demo ARGS="--port 9443 --docker"
ARGS ?=
# How long `make fuzz` stays on each target, in seconds.
FUZZ_SECONDS ?= 60

help: ## what there is
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a gateway of your own on this machine, with a built-in tenant to log in to
	@$(SETUP) build
	@cargo build --locked --bin portcullis
	@mkdir -p data && cp $(CLIENT) data/socket.io.min.js
	@exec target/debug/portcullis demo $(ARGS)

test: ## everything: unit, gateway, and live with real parts; ends with the sum
	@tests/all.sh

live: ## the live tests alone; make live ARGS=ending for some of them
	@cargo test --locked --quiet --lib portal::gallery
	@cargo test --locked --test live -- $(ARGS)

lint: ## fmt, clippy, doc, one crypto provider, deny, typos
	@tests/lint.sh

release: ## the fastest binary: built to count, put to work, built again; target/pgo/portcullis
	@$(SETUP) bench
	@benches/pgo.sh

bench: ## everything that docs/performance.md tells, beside five peers; make bench ARGS=sockets-idle for some of it
	@$(SETUP) bench
	@benches/pgo.sh again
	@cargo build --locked --release --example load
	@node benches/run.mjs $(ARGS)

fuzz: ## a minute of every parser of hostile bytes (FUZZ_SECONDS=60)
	@$(SETUP) fuzz
	@fuzz/run.sh $(FUZZ_SECONDS)

red: ## each guard taken out once: its tests must fail; make red ARGS=w1 for some
	@tests/red.sh $(ARGS)

soak: ## what takes hours: red, mutants of the pure rooms, long fuzzing, a million packets, many more kills
	@tests/soak.sh

image: ## the gateway's container image
	@$(SETUP)
	@tests/live/engine.sh gateway

clean: ## our own engine stopped; its images, tools and test output removed
	@tests/live/engine.sh stop
	@rm -rf .work tests/live/out tests/live/node_modules
