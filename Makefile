# What a developer runs. `make` lists it.
.DEFAULT_GOAL := help
.PHONY: help run cluster test verify fix interop crash-test crash-cluster durability bench bench-commands instructions fuzz sim swarm cells bench-sim meta planted

CARGO := cargo
OTTLA_BIN ?= $(CURDIR)/target/release/ottla
export OTTLA_BIN

help:              ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run:               ## a broker on 127.0.0.1:9092, data in ./ottla-data (ARGS='--listen 127.0.0.1:9093')
	$(CARGO) run --release -p ottla -- dev $(ARGS)

NODES ?= 3
cluster:           ## three nodes on 127.0.0.1:9092 to 9094, data in ./ottla-cluster (NODES=5 ARGS='--listen 127.0.0.1:19092')
	$(CARGO) run --release -p ottla -- dev --nodes $(NODES) --data ottla-cluster $(ARGS)

test:              ## every test that needs nothing but Rust
	$(CARGO) test --workspace

verify:            ## writes nothing: formatting, lints as errors, tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace

fix:               ## formats, and mends what the lints can mend
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

$(CURDIR)/target/release/ottla: FORCE
	$(CARGO) build --release -p ottla
FORCE:

interop: $(OTTLA_BIN)  ## unmodified clients and tools against Ottla (ARGS='--nodes 3 --against both --client java --case big')
	$(CARGO) run --release -p ottla-tests --bin interop -- $(ARGS)

crash-test: $(OTTLA_BIN)  ## kill -9 in the middle of a load, a hundred times (ARGS='--rounds 20 --seed 7')
	$(CARGO) run --release -p ottla-tests --features load --bin crash-test -- $(ARGS)

crash-cluster: $(OTTLA_BIN)  ## leaders of three nodes killed with -9 and paused in turn, a hundred times (ARGS='--rounds 20 --seed 7')
	$(CARGO) run --release -p ottla-tests --features load --bin crash-cluster -- $(ARGS)

durability: $(OTTLA_BIN)  ## proof by strace that no acks=all answer leaves too soon, and that broken drivers fail it
	$(CARGO) run --release -p ottla-tests --bin durability -- $(ARGS)
	$(CARGO) build -p ottla --features skip-sync-plant --target-dir target/sync-plant
	for plant in file dir early; do OTTLA_SYNC_PLANT=$$plant OTTLA_BIN=$(CURDIR)/target/sync-plant/debug/ottla \
	    $(CARGO) run --release -p ottla-tests --bin durability -- --expect-violations $(ARGS) || exit 1; done

bench: $(OTTLA_BIN)  ## Ottla beside Apache Kafka and the ceiling, one table (ARGS=--short: two minutes; '--only produce/raw --against none')
	$(CARGO) run --release -p ottla-tests --features load --bin bench -- $(ARGS)

bench-commands: $(OTTLA_BIN)  ## `ottla produce` and `ottla consume` beside kcat (ARGS='--records 500000 --against kafka')
	$(CARGO) run --release -p ottla-tests --bin bench-commands -- $(ARGS)

# The runner must be of the library's version.
GUNGRAUN = $(shell sed -n '/^name = "gungraun"$$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
instructions:      ## instruction counts of the hot path, beside those of the run before (needs valgrind)
	@gungraun-runner --version 2>/dev/null | grep -q ' $(GUNGRAUN)$$' || $(CARGO) install --locked gungraun-runner@$(GUNGRAUN)
	$(CARGO) bench -p ottla-core --bench instructions

FUZZ_SECONDS ?= 60
fuzz:              ## a coverage-guided fuzzer on every decoder, FUZZ_SECONDS=60 each (needs a nightly and cargo-fuzz)
	@cargo fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
	    cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

SCENARIO ?= scenarios/fast/swarm.toml
SEED ?=
sim:               ## one simulated run (SCENARIO=scenarios/fast/swarm.toml SEED=42)
	$(CARGO) run --release -p ottla-sim -- run $(SCENARIO) $(if $(SEED),--seed $(SEED)) $(ARGS)

SEEDS ?= 10000
swarm:             ## many seeds of every scenario, one process each (SEEDS=100 or 0..100, ARGS='--resume --branch')
	$(CARGO) run --release -p ottla-sim -- swarm scenarios --seeds $(SEEDS) $(ARGS)

CELL_SEEDS ?= 200
cells:             ## the contract of acks=all, cell by cell: CELL_SEEDS=200 of what kills, whom, and what a record waits for
	OTTLA_CELL_SEEDS=$(CELL_SEEDS) $(CARGO) test --profile quick -p ottla-sim --test cells

bench-sim:         ## how fast the simulator is, all checkers on
	$(CARGO) build --release -p ottla-sim
	target/release/ottla-sim bench scenarios/bench/three-nodes.toml --seeds 1..6
	target/release/ottla-sim bench scenarios/fast --seeds 1..65

META_SEEDS ?= 1000
meta:              ## every seed twice, in two processes and two builds: one hash; and the canaries
	$(CARGO) build --release -p ottla-sim
	$(CARGO) build --profile checked -p ottla-sim
	target/release/ottla-sim check-determinism scenarios/fast --seeds $(META_SEEDS) --other target/checked/ottla-sim

PLANTED_SEEDS ?= 400
planted:           ## how soon the swarm finds each planted bug (PLANTED_SEEDS=50 ARGS='--only LOG-01')
	$(CARGO) run --release -p ottla-sim --features planted-bugs --target-dir target/planted -- \
	    planted scenarios/fast --seeds $(PLANTED_SEEDS) $(ARGS)
