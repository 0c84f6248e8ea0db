# Everything happens in .venv, made from the package registry alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11))' \
		|| { echo "Timbre needs Python 3.11 or newer. Name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing here. On Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes a few minutes."
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes a few minutes."
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/demo.stamp

.PHONY: demo
demo: $(VENV)/demo.stamp ## Try it in a browser: the real bot on a simulated Discord
	@$(BIN)/python -m bot demo

.PHONY: test
test: $(VENV)/dev.stamp lint ## Run every check and every test
	$(BIN)/python -m pytest

.PHONY: check
check: $(VENV)/dev.stamp lint ## Run every check and the fast tests
	$(BIN)/python -m pytest -m 'not slow'

.PHONY: lint
lint: $(VENV)/dev.stamp ## Run the linters and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: run
run: $(VENV)/demo.stamp ## Run the bot on a real server (see README)
	@$(BIN)/python -m bot run

.PHONY: constraints
constraints: ## Raise the pinned versions to the newest that the ranges allow
	$(PIP) install --upgrade --upgrade-strategy eager -e '.[dev]'
	{ grep -E "^#|python_version" constraints.txt; $(PIP) freeze --exclude-editable; } > $(VENV)/newest
	@mv $(VENV)/newest constraints.txt && echo "Now run: make test"

.PHONY: clean
clean: ## Remove the virtual environment and the caches, never the data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
