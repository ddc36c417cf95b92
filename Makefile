# Each target sets up what it needs: a virtual environment in .venv with the packages of the lock files, and, for the
# tests, a few Debian packages where it may install them. A second call finds it done.

VENV := .venv
BIN := $(VENV)/bin
EXPLORE := 20
DAY := 5
# One more than there are cores: some wait for a disk, a server or a moment. Who is done takes over from who isn't.
PARALLEL = -n $$(($$(nproc) + 1)) --dist worksteal
PIP := pip --disable-pip-version-check -qq install
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run console test explore check format bench docs pictures lock reset clean
MAKEFLAGS += --no-builtin-rules --no-print-directory
# What Python compiled is kept, whatever the environment says: each worker of the tests reads all of it.
export PYTHONDONTWRITEBYTECODE :=

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.run ## the demo: a small fleet on this machine is planned, updated and shown
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh .ci/demo
	@printf '\n# Look at it in a browser, and see the next day go out: make console\n'

console: $(VENV)/.run ## the demo in a browser, with a controller that lets the next day go out; DAY=6 is one later
	@PATH="$(CURDIR)/$(BIN):$$PATH" updoser serve --with-controller -e day=$(DAY)

test: $(VENV)/.dev ## all tests but the benchmarks; ARGS="-k name" are passed to pytest
	@sh .ci/test-packages
	$(BIN)/pytest $(PARALLEL) $(ARGS)

explore: $(VENV)/.dev ## properties and attacks with random choices, EXPLORE=20 times as many; ARGS as above
	@sh .ci/test-packages
	EXPLORE=$(EXPLORE) $(BIN)/pytest $(PARALLEL) -m "hypothesis or explore" $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev .venv-bench/.done ## the benchmarks, beside other tools
	@sh .ci/test-packages bench-packages.txt
	@set -e; for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(VENV)/.dev .venv-docs/.done ## the references of docs, the man pages, and the site in .cache/site
	$(BIN)/python -m docs.make
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

pictures: $(VENV)/.dev ## docs/pictures: what the demo prints, and pages of its console
	$(BIN)/python docs/make/pictures.py
	$(BIN)/python -m docs.make.console_pictures

lock: $(VENV)/.dev ## write the lock files again; ARGS=--upgrade takes the newest versions
	$(LOCK) $(ARGS) --extra service pyproject.toml --output-file requirements.lock
	$(LOCK) $(ARGS) --group pyproject.toml:build --output-file .ci/build.lock
	$(LOCK) $(ARGS) --extra service --extra s3 pyproject.toml --group pyproject.toml:dev --constraint requirements.lock --constraint .ci/build.lock --output-file .ci/dev.lock
	$(LOCK) $(ARGS) --group pyproject.toml:bench --output-file .ci/bench.lock
	$(LOCK) $(ARGS) --group pyproject.toml:docs --output-file .ci/docs.lock

reset: ## forget the demo: its store, its state and its clients
	rm -rf .updoser

clean: ## remove what make, the tools and the build wrote
	rm -rf $(VENV) .venv-bench .venv-docs dist build .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find reconciler plugins tests -name __pycache__ -prune -exec rm -rf {} +

# Stamps: made anew when a lock file or pyproject.toml changes, and gone when the environment is.

$(BIN)/python:
	sh .ci/venv $(VENV)

$(VENV)/.run: requirements.lock .ci/build.lock pyproject.toml | $(BIN)/python
	$(BIN)/$(PIP) --require-hashes -r requirements.lock -r .ci/build.lock
	$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# It has all that .run has: pip looks for each package once.
$(VENV)/.dev: .ci/dev.lock requirements.lock .ci/build.lock pyproject.toml | $(BIN)/python
	$(BIN)/$(PIP) --require-hashes -r .ci/dev.lock
	$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	@touch $(VENV)/.run $@

.venv-bench/.done: .ci/bench.lock
	sh .ci/venv .venv-bench
	.venv-bench/bin/$(PIP) --require-hashes -r .ci/bench.lock
	@touch $@

.venv-docs/.done: .ci/docs.lock
	sh .ci/venv .venv-docs
	.venv-docs/bin/$(PIP) --require-hashes -r .ci/docs.lock
	@touch $@
