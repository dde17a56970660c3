# The verbs of this repository; `make help` lists them. Each takes ARGS="...", handed to the program as it stands.
#
# Rules: everything runs from .venv in this checkout; setting up speaks on stderr only, so the last line of
# stdout is always the program's own last line (`make demo ARGS=--json | tail -1` is one JSON object).

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo test check sim fuzz fuzz-plain mutants crash fences members licenses chaos bench model docs

BIN := .venv/bin
ARGS ?=
TEST_JOBS ?= 2

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo '  Options go in ARGS, for example: make test ARGS="tests/unit -x"'

setup:  ## create .venv from requirements.lock (again only when the lock or pyproject.toml changed)
	@.ci/setup $(ARGS) >&2

# The other verbs need .venv but must not hand their own ARGS to its making.
.PHONY: venv
venv:
	@.ci/setup >&2

demo: venv  ## three witnesses, two sites and a license server on loopback (ARGS: --json --keep --ttl 3s)
	@$(BIN)/witness demo $(ARGS)

test: venv  ## all tests (TEST_JOBS=2 processes)
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(ARGS)

check: venv  ## ruff, formatting and mypy; changes nothing
	@failed=0; \
	$(BIN)/ruff check $(ARGS) || failed=1; \
	$(BIN)/ruff format --check || failed=1; \
	$(BIN)/mypy || failed=1; \
	exit $$failed

sim: venv  ## whole clusters in simulated time (ARGS: --schedules N --seconds S --state FILE --replay SEED --json --help)
	@$(BIN)/python -m witness.sim $(ARGS)

fuzz: venv  ## the real Raft node under faulty networks, disks and clocks (ARGS: as make sim)
	@$(BIN)/python -m witness.sim.raft $(ARGS)

fuzz-plain: venv  ## the same schedules against the consensus library as it is shipped (ARGS: --links fifo, as make sim)
	@$(BIN)/python -W ignore tests/raft_plain/plain_fuzz.py $(ARGS)

mutants: venv  ## wrong variants of safety rules, each of which the simulations must see (ARGS: --json --list --only NAME,..)
	@$(BIN)/python tests/mutants/mutants_run.py $(ARGS)

crash: venv  ## real witnesses killed at named moments under load (ARGS: --rounds N --mode one --json --help)
	@$(BIN)/python tests/crash/crash_run.py $(ARGS)

fences: venv  ## real sites under SIGSTOP and worse: what ended each, when (ARGS: --trials N --only ROW,.. --ttl 2s --json --help)
	@$(BIN)/python tests/chaos/fences_run.py $(ARGS)

members: venv  ## a real site of two hosts parted, killed, stopped: what ended when (ARGS: --trials N --only ROW,.. --json --help)
	@$(BIN)/python tests/chaos/members_run.py $(ARGS)

licenses: venv  ## takeovers of a licensed Navixy with real databases: never two, never a dead key (ARGS: --rounds N --seed K --plan --list --json)
	@$(BIN)/python tests/chaos/licenses_run.py $(ARGS)

chaos: venv  ## random real faults on real processes in network namespaces (ARGS: --faults N --seed S --compare --list --json)
	@$(BIN)/python tests/chaos/chaos_run.py $(ARGS)

bench: venv  ## latency, throughput, memory and start-up, measured (ARGS: --json --only PART,..)
	@$(BIN)/python -m witness.bench $(ARGS)

model: venv  ## the exhaustive small-state model of the lease (ARGS: --help)
	@$(BIN)/python tests/model/run.py $(ARGS)

docs: venv  ## write docs/generated from the code (ARGS: --check says what is stale)
	@$(BIN)/python docs/generate.py $(ARGS)
