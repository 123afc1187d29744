# Only python3 (3.11+), make and the package registries are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
.DEFAULT_GOAL := help

.PHONY: help install demo test check bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what it runs with into $(VENV) (about a minute) …"
	@$(PIP) -e '.[embedded]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what tests and checks need into $(VENV) (about a minute) …"
	@$(PIP) -e '.[embedded,tune,otel,test,check]'
	@touch $@ $(RUN)

install: $(DEV) ## only the environment

demo: $(RUN) ## the main job: three calls with the suggestion for each, then the desktop page
	@$(BIN)/nba demo $(DEMO_ARGS)

test: $(DEV) ## every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_ARGS)

check: $(DEV) ## lint, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run .venv/bin/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -p no:cacheprovider tests/test_architecture.py

bench: $(DEV) ## every benchmark; results under benchmarks/results, the table in benchmarks/REPORT.md
	@$(BIN)/python benchmarks/all.py $(BENCH_ARGS)

clean: ## removes the environment and everything that can be made again; keeps .nba
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
