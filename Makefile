# Only python3 (3.11+), make and the package registries are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help

.PHONY: help install demo test check bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,test,check]'
	@touch $(STAMP)

install: $(STAMP) ## only the environment

demo: $(STAMP) ## the main job: three calls with the suggestion for each, then the desktop page
	@$(BIN)/nba demo $(DEMO_ARGS)

test: $(STAMP) ## every test
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(TEST_ARGS)

check: $(STAMP) ## lint, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run .venv/bin/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -p no:cacheprovider tests/test_architecture.py

bench: $(STAMP) ## every benchmark; results under benchmarks/results
	@set -e; for script in benchmarks/*.py; do $(BIN)/python $$script $(BENCH_ARGS) || echo "$$script: goal missed or failed"; done

clean: ## removes the environment and everything that can be made again; keeps .nba
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
