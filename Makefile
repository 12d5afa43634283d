# Every target makes the environment first if it is missing or pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests take one thread each; more would fight over the cores with one another.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Each process imports thousands of modules: half of its start goes on compiling them where a
# machine forbids to keep what was compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all lint format bench serve clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[test]'
	touch $@

demo: $(READY) ## Train, publish, pull and swap language adapters on this machine
	$(BIN)/python examples/madx/demo.py

test: $(READY) ## Run the tests (a sample of the long matrices)
	$(BIN)/pytest -n auto -m "not long"

test-all: $(READY) ## Run all tests, long matrices included
	$(BIN)/pytest -n auto

lint: $(READY) ## Check style, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Run the benchmarks; figures are printed, never asserted
	$(BIN)/python -m benchmarks

serve: $(READY) ## Run a hub on this machine
	$(BIN)/hubctl serve

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
