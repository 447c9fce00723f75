# Every target is short; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SRC := operator/src worker/src examples/library/src devcluster demo scripts
ALL := $(SRC) tests benchmarks
COV := $(BIN)/coverage run -m pytest
.DEFAULT_GOAL := help
.PHONY: help setup lint types unit test-db test-db-15 test-interop test-chart test-image test-cluster test-chaos test-long test bench bench-gates bench-wake bench-operator bench-keda simulate demo \
        chart lock coverage clean cluster-up cluster-down format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements/dev.txt requirements/setup.txt operator/pyproject.toml worker/pyproject.toml examples/library/pyproject.toml
	$(PYTHON) scripts/setup_venv.py $(VENV)
	@touch $@

setup: $(VENV)/.ready ## virtual environment with the locked dependencies

lint: types ## ruff, mypy, import-linter, yamllint
	$(BIN)/ruff check $(ALL)
	$(BIN)/ruff format --check $(ALL)
	$(BIN)/lint-imports
	$(BIN)/yamllint -s crds examples/library

types: setup ## mypy strict, of all but the tests
	$(BIN)/mypy $(SRC) benchmarks --exclude '^benchmarks/drivers/'
	MYPYPATH=benchmarks/drivers $(BIN)/mypy benchmarks/drivers # programs that find each other beside themselves

format: setup ## rewrite the sources the way lint wants them
	$(BIN)/ruff check --fix $(ALL)
	$(BIN)/ruff format $(ALL)

unit: setup ## pure tests, no services
	$(COV) tests/unit

test-db: setup ## the worker and the operator's store on a real Postgres
	$(COV) tests/db

test-db-15: setup ## a part of that on PostgreSQL 15, the oldest supported; TESTS=tests/db for all
	$(BIN)/python -m scripts.test_oldest_postgres $(TESTS)

test-interop: setup ## beside River for Go on one database
	$(COV) tests/interop

test-chart: setup ## charts with helm 3 and helm 4
	$(COV) tests/chart

test-image: setup ## build the images and look into them
	$(COV) tests/image

test-cluster: setup ## operator and workers on the dev cluster
	$(COV) tests/cluster

test-chaos: setup ## worker processes killed under load, on a real Postgres
	$(COV) tests/chaos

test-long: setup ## what takes minutes by nature, on every tier
	$(BIN)/python -m pytest -m long --timeout 1800 tests
	$(BIN)/python -m scripts.test_oldest_postgres tests/db/run tests/db/plans

coverage: setup ## coverage of all tiers run so far, at least 80 %
	$(BIN)/python scripts/coverage_report.py --fail-under 80

test: setup ## everything this computer can run
	$(BIN)/python -m scripts.test_all

bench: setup ## beside River for Go and other systems, into build/; ARGS="--case drain --rounds 3" for a part
	$(BIN)/python -m benchmarks $(ARGS)

bench-gates: setup ## the speed gates of River's conformance suite, beside River for Go, into build/
	$(BIN)/python -m benchmarks.gates

bench-wake: setup ## from an insert on an idle queue to replicas, on the dev cluster, into build/
	$(BIN)/python -m benchmarks.wake

bench-operator: setup ## the operator with 200 JobQueues and 5,000 pods, into build/
	$(BIN)/python -m benchmarks.operator

bench-keda: setup ## the operator beside a real KEDA, into build/
	$(BIN)/python -m benchmarks.keda

simulate: setup ## the operator's decisions against KEDA and the HPA, into build/simulate.json
	$(BIN)/rivermill-operator simulate --seeds 5 --json build/simulate.json --check

demo: setup ## the main job, end to end, on the dev cluster
	$(BIN)/python -m demo

cluster-up: setup ## start the dev cluster
	$(BIN)/python -m devcluster up

cluster-down: setup ## stop the dev cluster
	$(BIN)/python -m devcluster down

chart: setup ## generated parts of the charts and of docs/jobqueue.md
	$(BIN)/python -m scripts.chart_docs

lock: setup ## lock the dependencies again
	$(BIN)/python scripts/lock.py

clean: ## what builds and tests leave behind
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
