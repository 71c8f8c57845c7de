# What a developer runs. `make` lists it.
.DEFAULT_GOAL := help
.PHONY: help interop crash-test durability

CARGO := cargo
OTTLA_BIN ?= $(CURDIR)/target/release/ottla
export OTTLA_BIN

help:              ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(CURDIR)/target/release/ottla: FORCE
	$(CARGO) build --release -p ottla
FORCE:

interop: $(OTTLA_BIN)  ## unmodified clients and tools against Ottla (ARGS='--against both --client java --case big')
	$(CARGO) run --release -p ottla-tests --bin interop -- $(ARGS)
