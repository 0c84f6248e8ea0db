# Everything happens in .venv, made from the package registry alone.
PYTHON ?= python3
VENV := .venv
BOT_VENV := .venv-bot
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt

# How many processes share the tests that compute, one more than there are processors (some wait for
# programs that they start), and those that mostly wait.
COMPUTING = $(shell $(BIN)/python -c 'import os; print(1 + min(3, os.cpu_count() or 1))')
WAITING := 12

# The tests start a hundred processes. Each would compile the same files again without these caches.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11))' \
		|| { echo "Timbre needs Python 3.11 or newer. Name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing here. On Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }

# What is installed: a stamp for the bot alone, and one for each extra, or several with commas.
INSTALLING = echo "Installing into $(VENV); the first time takes a few minutes$(ABOUT_TORCH)."
COMMA := ,
ABOUT_TORCH = $(if $(findstring local,$*),$(COMMA) and 8 GB for PyTorch)

$(VENV)/bot.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALLING)
	@$(INSTALL) -e .
	@touch $@

$(VENV)/%.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALLING)
	@$(INSTALL) -e '.[$*]'
	@touch $@ $(addprefix $(VENV)/,$(addsuffix .stamp,bot $(CONTAINED_IN_$*)))

# What an extra contains is installed with it.
CONTAINED_IN_demo := preview
CONTAINED_IN_demo,local := preview demo local
CONTAINED_IN_dev := api preview demo local demo,local postgres

.PHONY: demo
demo: $(VENV)/demo.stamp ## Try it in a browser: the real bot on a simulated Discord
	@extras=$$($(BIN)/python -m bot.extras demo) \
		&& $(MAKE) --no-print-directory --silent $(VENV)/$$extras.stamp
	@$(BIN)/python -m bot demo

.PHONY: test
test: $(VENV)/dev.stamp ## Run every check and every test
	@echo "Linters, types and tests run side by side; each shows its lines when it is done."
	@$(SIDE_BY_SIDE) lint types wait
	@$(MAKE) --no-print-directory compute

.PHONY: check
check: $(VENV)/dev.stamp ## Run every check and the fast tests
	@$(SIDE_BY_SIDE) lint types compute FAST=1

.PHONY: test-bot
test-bot: ## Run the tests that need no PyTorch, in an environment without it
	@$(MAKE) --no-print-directory VENV=$(BOT_VENV) $(BOT_VENV)/dev-bot.stamp
	@$(MAKE) --no-print-directory VENV=$(BOT_VENV) compute
	@$(MAKE) --no-print-directory VENV=$(BOT_VENV) wait

# Tests that wait in real time leave the processors enough time for linters and types, but the other
# tests would keep the processors from them. None of them needs Hypothesis or Schemathesis, whose
# imports take each process a second.
SIDE_BY_SIDE := $(MAKE) --no-print-directory --keep-going --jobs 4 \
	$(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
PYTEST = $(BIN)/python -m pytest --no-loadscope-reorder

.PHONY: compute
compute:
	nice -n 10 $(PYTEST) -n $(COMPUTING) -m "not realtime$(if $(FAST), and not slow)"

.PHONY: wait
wait:
	$(PYTEST) -n $(WAITING) -p no:hypothesispytest -p no:schemathesis -m realtime

.PHONY: lint
lint: $(VENV)/dev.stamp ## Run the linters
	@nice -n 10 $(BIN)/ruff check .
	@nice -n 10 $(BIN)/ruff format --check .
	@nice -n 10 $(BIN)/lint-imports

.PHONY: types
types: $(VENV)/dev.stamp ## Run the type checker
	@nice -n 10 $(BIN)/mypy

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: sync
sync: $(VENV)/bot.stamp ## Publish the slash commands to Discord (see README)
	@$(BIN)/python -m bot sync

.PHONY: run
run: $(VENV)/bot.stamp ## Run the bot on a real server (see README)
	@extras=$$($(BIN)/python -m bot.extras) \
		&& $(MAKE) --no-print-directory --silent $(VENV)/$${extras:-bot}.stamp
	@$(BIN)/python -m bot run

.PHONY: api
api: $(VENV)/api.stamp ## Serve the HTTP API on this machine (see docs/api.md)
	@extras=$$($(BIN)/python -m bot.extras) \
		&& $(MAKE) --no-print-directory --silent $(VENV)/$${extras:-bot}.stamp
	@$(BIN)/python -m bot api

.PHONY: constraints
constraints: ## Raise the pinned versions to the newest that the ranges allow
	$(PIP) install --upgrade --upgrade-strategy eager -e '.[dev]'
	{ grep -E "^#|python_version" constraints.txt; $(PIP) freeze --exclude-editable; } > $(VENV)/newest
	@mv $(VENV)/newest constraints.txt && echo "Now run: make test"

.PHONY: clean
clean: ## Remove the virtual environment and the caches, never the data
	rm -rf $(VENV) $(BOT_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
