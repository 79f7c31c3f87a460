# Everything a developer or a visitor runs. `make` alone lists it.
# PYTHON is any Python 3.11 to 3.13; the first found wins.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help setup dev demo run test peers conformance faults check format bench eval lock

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/product: requirements/product.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed. Name one with PYTHON=…" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what the product runs on …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/product.txt
	@touch $@

.venv/dev: requirements/dev.txt .venv/product
	@echo "Installing what it is built and tested with …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

setup: .venv/product  ## .venv with the locked requirements

dev: .venv/dev  ## the same with the tools for development

demo: .venv/product  ## the main job, end to end, on this machine; ONCE=1 leaves afterwards
	@ONCE=$(ONCE) $(BIN)/python -m metaagent.demo

run: .venv/product  ## the product alone, reloading, on 127.0.0.1:8000
	@DEBUG=1 $(BIN)/python manage.py migrate -v 0
	@DEBUG=1 $(BIN)/python -m uvicorn metaagent.asgi:application --reload --no-access-log --ws-max-size 65536

test: .venv/dev  ## every test; REQUIRE_ALL=1 fails where a service is missing
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2 --dist worksteal $(if $(filter 1,$(REQUIRE_ALL)),--require-all) $(ARGS)

peers: .venv/product  ## prove it against software not written here; needs npm; ARGS=--replicas for two processes
	@$(BIN)/python -m tests.peers.run $(ARGS)

conformance: .venv/product  ## the official MCP conformance suite against the product's own stack; needs npm
	@$(BIN)/python -m tests.conformance.run

faults: .venv/dev  ## kill, stop, slow down and lie to what it runs on; hours, ARGS=--quick for minutes
	@$(BIN)/python -m tests.faults $(ARGS)

check: .venv/dev  ## format, lint, types, import contracts, migrations, deployment settings
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@DEBUG=1 VAR_DIR=.venv/check $(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@DEBUG=1 VAR_DIR=.venv/check $(BIN)/python manage.py makemigrations --check --dry-run
	@VAR_DIR=.venv/check SECRET_KEY=$$(head -c 64 /dev/urandom | od -An -tx1 | tr -d ' \n') PUBLIC_URL=https://agents.example.com \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

format: .venv/dev  ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/dev  ## measure a call, and what the agent saves; one JSON object a line; ARGS="gains" for the second alone
	@$(BIN)/python -m bench $(ARGS)

eval: .venv/dev  ## ask a real model the question set: what is right and what it costs; needs ANTHROPIC_API_KEY
	@$(BIN)/python -m bench.eval $(ARGS)

lock: .venv/dev  ## resolve requirements/*.in anew
	@for f in product aws gcp dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url requirements/$$f.in -o requirements/$$f.txt; done
