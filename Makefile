# Everything a developer or operator types. `make` alone explains itself.
# Needs Python 3.11 or later with venv, and nothing else that is not installed by the targets themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODEGEN := .venv-codegen
SOURCES := pkg services envoy sdk tests bench proto

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# What `make test-fast` runs beside the units: of each service, and of what all of them stand on, what most depends on.
FAST := $(addprefix tests/integration/,matchmaking/test_tickets.py game/test_sessions.py game/test_finish.py \
    auth/test_auth.py catalog scoring/test_scoring.py sdk/test_scripted_calls.py edge/test_registry.py \
    envoy/test_front_door.py cache) tests/unit --ignore=tests/unit/docs/test_matchmaking.py
SDK_LOCKS := sdk-oldest sdk-middle
.PHONY: help demo demo-arena up secrets backup restore test test-unit test-fast test-bench test-matrix web explorers kafka test-web test-explorers test-kafka test-chaos test-compose-engine soak bots bench lint types format proto proto-check proto-baseline breaking lock setup setup-dev clean test-overload

help: ## Show this
	@echo "oofgg, an open, self-hosted game backend. Start with \`make demo\`."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Start the platform, play a real match through Envoy, show the result (ARGS=--keep leaves it running)
	@$(BIN)/python -m services demo $(ARGS)

demo-arena: $(VENV)/.arena ## Play a real-time game against bots in this terminal (ARGS=--watch lets bots play; ARGS=--help)
	@$(BIN)/python -m services arena $(ARGS)

up: setup ## Keep the embedded platform running and print where everything is (Ctrl-C stops it)
	@$(BIN)/python -m services up $(ARGS)

secrets: ## Make the secrets that docker compose needs, once; what exists is kept
	@compose/secrets.sh

backup: setup ## Save the embedded platform's data, while it runs or not (TO=file)
	@$(BIN)/python -m services backup $(or $(TO),backups/$$(date -u +%Y%m%dT%H%M%SZ).dump) $(ARGS)

restore: setup ## Go back to a backup of the embedded platform (FROM=file), while it does not run
	@$(BIN)/python -m services restore $(or $(FROM),$(error FROM=file is needed)) $(ARGS)

test: setup-dev ## Run all tests: units, real backends, the whole platform through Envoy (ARGS are for pytest)
	$(BIN)/pytest --numprocesses 3 --no-loadscope-reorder $(ARGS)

test-fast: setup-dev ## Run the units and the most telling tests with backends: a minute, for the inner loop
	$(BIN)/pytest -q --numprocesses 3 --no-loadscope-reorder $(FAST) $(ARGS)

test-bench: setup-dev ## Test the generator of load that `make bench` builds (needs Go)
	$(BIN)/pytest tests/bench $(ARGS)

test-unit: setup-dev ## Run the tests that need no backend: seconds
	$(BIN)/pytest tests/unit $(ARGS)

test-matrix: setup-dev ## Run the SDK with the older libraries it supports (installs them)
	$(BIN)/pytest tests/matrix $(ARGS)

web: sdk/web/node_modules/.done ## Build the browser package, and its examples into build/web (needs Node.js 20 or later)
	@cd sdk/web && npm run --silent build && npm run --silent examples

explorers: ## Build grpcurl and evans into build/tools (needs Go)
	@tests/explorers/install.sh

kafka: ## Fetch Apache Kafka into build/tools (needs Java 17 and Maven)
	@tests/kafka/install.sh

test-web: setup-dev web ## Play in a real browser, and from Node (needs Node.js and Chromium)
	$(BIN)/pytest tests/web $(ARGS)

test-explorers: setup-dev explorers ## Explore the platform with grpcurl, evans and curl, as the how-to says (needs Go)
	$(BIN)/pytest tests/explorers $(ARGS)

test-kafka: setup-dev kafka ## Kill relay, projections and broker while results flow; events on Apache Kafka (needs Java 17, Maven)
	$(BIN)/pytest --numprocesses 3 --dist worksteal --kafka apache tests/kafka tests/integration/events $(ARGS)

test-chaos: setup-dev ## Kill, pause, cut and drain parts of a running platform under load: seven minutes
	$(BIN)/pytest tests/chaos $(ARGS)

test-compose-engine: setup-dev ## Build, start, upgrade, scale, kill, save and restore the platform of docker-compose.yaml (needs Docker 25 or later)
	$(BIN)/pytest tests/compose_engine $(ARGS)

test-overload: setup-dev ## Give each background worker twice what it can do while its backends are slow (SECONDS=6; 60 for the long form)
	OOFGG_OVERLOAD_SECONDS=$(or $(SECONDS),6) $(BIN)/pytest tests/overload $(ARGS)

soak: setup-dev ## The same for MINUTES (30), in a random order, with an eye on memory (SEED=n repeats it)
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) $(ARGS)

bots: setup ## Load a platform and check what it promises (TARGET=host:port, ARGS=--help)
	@$(BIN)/python -m services bots --target $(or $(TARGET),localhost:8080) $(ARGS)

bench: setup-dev ## Measure the platform, write docs/performance.md (needs Go; ARGS=--quick, ARGS=--help)
	@$(BIN)/python -m bench $(ARGS)

lint: setup-dev proto-check breaking ## Check style, types, imports, protos and generated code
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup-dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

proto: $(CODEGEN)/.done setup-dev ## Generate code and tables from the protos
	$(BIN)/python -m proto.generate
	$(BIN)/python -m envoy table > docs/reference/rpcs.md
	PYTHONPATH=. $(BIN)/python docs/reference/generate.py

proto-check: $(CODEGEN)/.done setup-dev # Generated code is what the protos say, and the protos are well formed
	$(BIN)/python -m proto.generate --check
	$(BIN)/buf lint build/proto/full.binpb --config proto/buf.yaml

breaking: proto-check # No change of the protos breaks whoever uses the last release
	$(BIN)/buf breaking build/proto/full.binpb --against proto/baseline.binpb --config proto/buf.yaml

proto-baseline: proto-check ## Make today's protos the released ones: only when releasing
	$(BIN)/python -m proto.generate --baseline

lock: ## Renew the hash-pinned lock files from pyproject.toml (needs uv)
	@for lock in "pyproject.toml -o requirements/services.lock" \
	             "pyproject.toml --group embedded -o requirements/platform.lock" \
	             "--group arena -c requirements/platform.lock -o requirements/arena.lock" \
	             "pyproject.toml --group dev -o requirements/dev.lock" \
	             "--group codegen -o requirements/codegen.lock" \
	             $(foreach lock,$(SDK_LOCKS),"requirements/$(lock).in -o requirements/$(lock).lock"); do \
	    uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 $$lock || exit 1; \
	done

setup: $(VENV)/.platform
setup-dev: $(VENV)/.dev

clean: ## Remove what was installed and built (not the data in .oofgg)
	rm -rf $(VENV) $(CODEGEN) build dist sdk/web/node_modules sdk/web/dist sdk/web/src/gen .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "oofgg needs Python 3.11 or later; this is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@# Relative: Python reads this file in the encoding of the locale, which need not know the letters of our path.
	@$(BIN)/python -c 'import os, pathlib, sysconfig; site = pathlib.Path(sysconfig.get_path("purelib")); (site / "oofgg.pth").write_text(os.path.relpath("sdk/src", site) + "\n")'

$(VENV)/.platform: $(BIN)/python requirements/platform.lock
	@echo "installing the platform: $$(grep -c == requirements/platform.lock) packages, about 120 MB (once)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes -r requirements/platform.lock \
	    | awk '/^Collecting/ { print "  " $$1, $$2; fflush() } /^Installing/ { print "  Installing all of them"; fflush() }'
	@touch $@

$(VENV)/.arena: $(VENV)/.platform requirements/arena.lock
	@echo "installing what the arena draws with: $$(grep -c == requirements/arena.lock) packages (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --require-hashes -r requirements/arena.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.platform requirements/dev.lock
	@echo "installing the tools for development: $$(grep -c == requirements/dev.lock) packages (once)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes -r requirements/dev.lock \
	    | awk '/^Collecting/ { print "  " $$1, $$2; fflush() } /^Installing/ { print "  Installing all of them"; fflush() }'
	@touch $@

$(CODEGEN)/.done: requirements/codegen.lock
	@echo "installing the generator for the protos (once)"
	@$(PYTHON) -m venv $(CODEGEN)
	@$(CODEGEN)/bin/python -m pip install -q --disable-pip-version-check --no-input --require-hashes -r $<
	@touch $@

sdk/web/node_modules/.done: sdk/web/package-lock.json
	@command -v npm > /dev/null || { echo "the browser package needs Node.js 20 or later, with npm" >&2; exit 1; }
	@echo "installing the packages that the browser package is built with (once)"
	@cd sdk/web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
