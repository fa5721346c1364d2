# Every target does its own set-up; a second run finds it done.

# The one that the pinned versions are tested with, else any that is new enough. First the distribution's: it is built
# with profile-guided optimisation; one that a version manager has compiled often is not, and a fifth slower.
PYTHON ?= $(shell for python in /usr/bin/python3.11 python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' && break; done 2>/dev/null; echo $$python)
PORT ?= 8080
SEEDS ?= 1000
FIRST ?= 0
JOBS ?= $(shell nproc)
SECONDS ?= 60
# Of bench: workflows that are open when the engine is killed. Of bench-growth: stored workflows.
OPEN ?= 10000
SIZES ?= 10000,20000,100000,200000,1000000
KAFKA_SIZES ?= 10000,20000,100000,200000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED_RUN := $(VENV)/.installed-run
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_DOCS := $(VENV)/.installed-docs
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The files are complete, which a test proves. Without --no-deps pip would look outside them where a requirement
# has an extra (coverage[toml]), and fail as soon as there is a newer release than the pinned one.
INSTALL := $(PIP) install --require-hashes --no-deps
PIP_CHECK := $(PIP) check || { echo "An old $(VENV) does not go with the pinned versions: make clean, then again." 1>&2; exit 1; }
# The variable: MkDocs Material speaks of another generator at every build.
MKDOCS := env NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
PREREQUISITES := deploy/local_services/prerequisites.sh
# uv notes no address and no path of this machine, so that the files are the same wherever they are made.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	--universal --python-version 3.11 --no-emit-package conveyor-sdk pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup run test lint types pytest unit integration services services-setup processes-setup faults foreign-clients bench bench-compare \
	bench-growth simulate fuzz docs docs-setup docs-serve tutorial wheels lock clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(INSTALLED_DEV) ## create .venv and install everything pinned

# What `make run` needs: a third of the whole.
$(INSTALLED_RUN): requirements/run.txt pyproject.toml hatch_build.py sdk/pyproject.toml sdk/conveyor/__init__.py
	@$(PREREQUISITES) python "$(PYTHON)" 1>&2
	@echo "Installing into $(VENV) what running needs ..." 1>&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 1>&2
	@$(INSTALL) -r requirements/run.txt 1>&2
	@$(PIP) install --no-deps --no-build-isolation -e sdk -e . 1>&2
	@$(PIP_CHECK)
	@touch $@

$(INSTALLED_DEV): $(INSTALLED_RUN) requirements/dev.txt
	@echo "Installing into $(VENV) what the tests need ..." 1>&2
	@$(INSTALL) -r requirements/dev.txt 1>&2
	@$(PIP_CHECK)
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED_DEV) requirements/docs.txt
	@echo "Installing into $(VENV) what the site needs ..." 1>&2
	@$(INSTALL) -r requirements/docs.txt 1>&2
	@$(PIP_CHECK)
	@touch $@

run: $(INSTALLED_RUN) ## try Conveyor: embedded mode with a simulated warehouse; PORT=8080
	@$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2>/dev/null || \
		{ echo "Port $(PORT) is taken. Choose another: make run PORT=$$(($(PORT) + 1))" 1>&2; exit 2; }
	@exec $(BIN)/conveyor dev --port $(PORT)

test: lint types pytest ## everything that CI checks

lint: setup ## import rules, ruff, format
	$(BIN)/lint-imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## pyright; mypy for the SDK, whose users may have either
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/mypy --strict -p conveyor
	$(BIN)/mypy --strict tests/sdk/typed_program.py

pytest: setup processes-setup docs-setup ## all tests, with real Kafka, MongoDB protocol and Redis
	$(BIN)/python -m pytest -m "not faults and not foreign" --cov --cov-report=term

# The two halves of `make pytest`; K=retry takes those that `pytest -k retry` selects.
unit: setup ## tests that need no server, with their coverage; K=retry for some
	$(BIN)/python -m pytest -m "not integration and not faults and not foreign" \
		$(if $(K),-k "$(K)",--cov --cov-report=term --cov-fail-under=90)

integration: setup processes-setup docs-setup ## tests on real servers and of whole processes; K=retry for some
	$(BIN)/python -m pytest -m "integration and not faults and not foreign" $(if $(K),-k "$(K)")

# What `make pytest` leaves out for its length. SEED=n repeats the plan of a run.
faults: setup processes-setup ## kill, freeze, cut and fill real processes and servers; prints what was shown
	FAULTS_SEED=$(SEED) $(BIN)/python -m pytest tests/faults

# What `make pytest` leaves out for its set-up: Node.js, Go and Java with their clients.
foreign-clients: setup processes-setup ## Kafka and CloudEvents clients for JavaScript, Go and Java against an engine
	@$(PREREQUISITES) foreign 1>&2
	@$(BIN)/python -m tests.foreign_clients.build 1>&2
	$(BIN)/python -m pytest tests/foreign_clients

services-setup: setup
	@$(PREREQUISITES) services 1>&2

# Tests have deadlines: what has to be downloaded is there before the first one begins.
processes-setup: setup
	@$(PREREQUISITES) processes 1>&2
	@$(BIN)/python -m deploy.local_services.prepare 1>&2

docs-setup: $(INSTALLED_DOCS)
	@$(BIN)/python -m deploy.docs_site.mermaid_script 1>&2

services: setup services-setup ## start Kafka, MongoDB and Redis, print their settings, wait for Ctrl-C
	@exec $(BIN)/python -m deploy.local_services

bench: setup processes-setup ## measure both modes, write bench/report.json and report.md
	@exec $(BIN)/python -m bench.run --open $(OPEN)

bench-compare: setup ## bench/report.json against bench/baseline.json; fails where it is worse, or lacks a recipe
	@exec $(BIN)/python -m bench.compare

bench-growth: setup processes-setup ## measure up to a million stored workflows (an hour), write bench/growth.json
	@exec $(BIN)/python -m bench.run --growth --sizes $(SIZES) --kafka-sizes $(KAFKA_SIZES)

simulate: setup ## SEEDS=10000 [FIRST=n] [JOBS=n]: seeded runs of the whole system with faults
	PYTHONPATH=.:sdk $(BIN)/python -m tests.simulation --first $(FIRST) --count $(SEEDS) --jobs $(JOBS)

# What fails is told with the line that repeats it; SEED=n tries the property tests on the inputs of a run.
fuzz: setup ## whatever comes from outside, led by coverage; SECONDS=60 for all targets together
	@$(INSTALL) -r requirements/fuzz.txt 1>&2
	@$(PIP_CHECK)
	@exec $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

docs: docs-setup ## build the documentation as a site into .cache/site
	@$(MKDOCS) build

# The option: with click 8.3 it is not the default that MkDocs means it to be.
docs-serve: docs-setup ## the same, shown on http://127.0.0.1:8000 and built again after each change
	@exec $(MKDOCS) serve --livereload

# With what a user has: the two wheels in a virtual environment of their own, in an empty folder.
tutorial: wheels processes-setup ## follow the first workflow and the tutorial, from an empty folder to Kafka
	@exec $(BIN)/python -m tests.docs.tutorial

wheels: setup ## build the wheels of service and SDK into dist/
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . ./sdk

lock: setup ## pin the newest versions that pyproject.toml allows
	$(LOCK) --upgrade --group build -o requirements/run.txt
	$(LOCK) --upgrade --group dev -c requirements/run.txt -o requirements/dev.txt
	$(filter-out pyproject.toml,$(LOCK)) --upgrade --group docs -c requirements/dev.txt -o requirements/docs.txt
	$(filter-out pyproject.toml,$(LOCK)) --upgrade --group fuzz -o requirements/fuzz.txt

clean: ## remove everything that a target has made
	rm -rf $(VENV) .cache .coverage .hypothesis .import_linter_cache .pytest_cache .ruff_cache *.egg-info sdk/*.egg-info dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
