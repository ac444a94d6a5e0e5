# Each target makes the virtual environment first where it is missing. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
# The first of these that is Python 3.10 or newer makes the environment; `make PYTHON=python3.12 test` decides for you.
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then echo $$p; break; fi; done)
# The many programs that the tests start shall not compile us again each time.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := discordplex tests benchmarks
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "discordplex needs Python 3.10 or newer, and none was found: install one from https://www.python.org or your system's packages."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml | $(VENV)/.made
	@echo "installing discordplex into $(VENV), about a minute"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.made
	@echo "installing discordplex and its tools into $(VENV), about a minute"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## a whole call on this machine, in discordplex-demo/: no token, no GPU
	$(BIN)/discordplex demo

run: $(VENV)/.run ## the bot, with discordplex.toml or the environment
	$(BIN)/discordplex run

test: $(VENV)/.dev ## every test; the calls in real time and the others side by side
	$(BIN)/python -m tests

style: $(VENV)/.dev ## format and lint
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.dev ## mypy, strict, over package, tests and benchmarks
	$(BIN)/mypy

check: style types ## what CI runs, beside interop: also style, types, asyncio's debug mode and the coverage of each package
	$(BIN)/python -m tests --check

interop: $(VENV)/.dev ## calls with discord.js as a client and with aimock as the cascade's and the realtime engine's server, axe on the status page; needs Node 20.15 and npm
	@$(BIN)/python -m tests.interop

MINUTES ?= 10
soak: $(VENV)/.dev ## long calls, a million hostile messages, a hundred kills, then two calls with troubles for MINUTES (10)
	DISCORDPLEX_SOAK=1 $(BIN)/python -m pytest tests/voice tests/store/test_kill.py --timeout=900
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

KILLS ?= 100
soak-fleet: $(VENV)/.dev ## three processes of one bot on PostgreSQL, of which one after the other is killed, KILLS (100) times
	$(BIN)/python -m tests.end_to_end.fleet_soak $(KILLS)

bench: $(VENV)/.dev ## what the design budgets, measured; `make bench PEERS=1` adds discord.js and hermes-talk; writes benchmarks/results.json
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers)

load: $(VENV)/.dev ## how many calls a process carries on one core, and how it grows with calls, people and guilds; Linux, two cores; writes benchmarks/load.json
	$(BIN)/python -m benchmarks.load

lock: $(VENV)/.dev ## renew requirements.lock: the versions and hashes of a deploy
	@$(PIP) uv
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
		--extra cascade --extra monitoring --extra otel --extra postgres --extra socks --upgrade pyproject.toml --output-file $(VENV)/requirements.lock
	@{ echo "# Versions and hashes of everything that discordplex[cascade,monitoring,otel,postgres,socks] needs, for Python 3.10 and newer."; \
		echo "# \`make lock\` writes this file; CONTRIBUTING.md says how to deploy with it."; \
		cat $(VENV)/requirements.lock; } > requirements.lock

clean: ## remove the environment and everything made
	rm -rf $(VENV) .interop .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* discordplex-demo dist build *.egg-info benchmarks/results.json benchmarks/soak.json benchmarks/load.json
	find $(SOURCES) -name __pycache__ -type d -exec rm -rf {} +

.PHONY: help demo run test style types check interop soak soak-fleet bench load lock clean
