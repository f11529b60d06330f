# Every command of the project. `make` alone prints this list.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes
WORKERS ?= 4
NODE := clients/js examples/nextjs
.DEFAULT_GOAL := help
.PHONY: help install install-dev run demo test lint types check quick bench chaos mutate up down compose-smoke rolling observe docs pictures format clean lock

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Presswork needs Python 3.11 or newer; set PYTHON=python3.x" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements/runtime.txt | $(BIN)/python
	$(PIP) -r requirements/runtime.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(BIN)/python
	$(PIP) -r requirements/dev.txt
	@touch $@ $(VENV)/runtime.stamp

# Generators of clients: they need other releases of packages that the tools need too.
.venv-generators/stamp: requirements/generators.txt
	$(PYTHON) -m venv .venv-generators
	.venv-generators/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/generators.txt
	@touch $@

# npm writes these files; without npm their tests are skipped, with the reason.
%/node_modules/.package-lock.json: %/package-lock.json
	@if command -v npm >/dev/null; then (cd $* && npm ci --silent --ignore-scripts --no-audit --no-fund) && touch $@; \
		else echo "npm is not on this machine: the tests of $* are skipped"; fi

# Node's queue stands beside the others where npm is there.
.venv-bench/stamp: requirements/bench.txt bench/peers/bullmq/package-lock.json
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/bench.txt
	@if command -v npm >/dev/null; then \
		cp bench/peers/bullmq/package*.json .venv-bench/ && npm ci --silent --no-audit --no-fund --prefix .venv-bench; fi
	@touch $@

install: $(VENV)/runtime.stamp ## Make .venv with what the services need

# The browser tests that need axe-core are skipped where npm, or its registry, is not there.
.node/stamp: tests/browser/axe/package-lock.json
	@mkdir -p .node && if command -v npm >/dev/null; then cp tests/browser/axe/package*.json .node/ \
		&& npm ci --silent --no-audit --no-fund --ignore-scripts --prefix .node || true; fi
	@touch $@

# Node 22 beside the machine's own, by a package for its system. Without it the tests that need it are skipped.
.node22/stamp: tests/clients/node22/package-lock.json
	@mkdir -p .node22 && if command -v npm >/dev/null; then cp tests/clients/node22/package*.json .node22/ \
		&& npm ci --silent --no-audit --no-fund --ignore-scripts --prefix .node22 || true; fi
	@touch $@

install-dev: $(VENV)/dev.stamp .node/stamp .node22/stamp .venv-generators/stamp $(NODE:%=%/node_modules/.package-lock.json)

run: install ## Embedded server, gateway, notifier and worker on this machine; Ctrl-C drains and stops
	@exec $(BIN)/python -m deploy.local

demo: install ## make run with keys and a small generated world: every page of the console is alive within a minute
	@exec $(BIN)/python -m deploy.demo

up: .data/secrets $(if $(OBSERVE),.data/secrets/grafana-password) ## Docker Compose: build, start, wait until ready; OBSERVE=1 adds Prometheus and Grafana
	@$(PYTHON) -m deploy.redis_users .data/secrets
	REDIS_USERS_VERSION=$$(cksum <.data/secrets/redis-users.acl) \
		docker compose $(if $(OBSERVE),--profile observability) up --build --detach --wait
	@echo "Presswork is at http://127.0.0.1:$${EDGE_PORT:-8080} (API, /docs, event streams)"
	@key=$$(docker compose exec -T gateway python -m services.gateway keys create-first) || exit; \
		if [ -n "$$key" ]; then echo "The first operator's key, shown once: $$key"; fi

down: ## Docker Compose: drain and stop; the data stays in its volumes
	docker compose --profile observability down

# Its files are readable for the users inside the containers; the folder keeps others on this machine out.
.data/secrets:
	@mkdir -p -m 700 .data && mkdir -p .data/secrets && chmod 700 .data/secrets

.data/secrets/grafana-password: | .data/secrets
	@$(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(18))' >$@ && chmod 644 $@

observe: ## This machine's Prometheus beside `make run`
	@exec $(PYTHON) -m deploy.observe

test: lint types check ## Lint, types, import contracts and the whole suite

check: install-dev ## The suite alone
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Of the servers of tests/store Valkey alone: no test is named by such a bracket but for its server.
quick: install-dev ## Within a minute: pure code, the store on Valkey, the adapters; no service as a process
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" -k "not [cluster and not [redis- and not [redis]" \
		tests/unit tests/model tests/store tests/providers

lint: install-dev ## ruff, the import contracts and hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint --config .hadolint.yaml deploy/Dockerfile

types: install-dev ## mypy, strict
	$(BIN)/mypy

bench: install-dev .venv-bench/stamp ## Benchmarks beside other queues; prints tables, writes bench/results/
	$(BIN)/python -m bench $(BENCH)

chaos: install-dev ## A minute of random faults under 2,000 jobs: kills, freezes, refused writes, clock steps
	$(BIN)/python -m tests.chaos

mutate: install-dev ## Damage important lines one by one: the tests must notice; MUTATIONS="name …" chooses
	$(BIN)/python -m tests.mutation $(MUTATIONS)

rolling: install-dev ## Restart every service under 50 jobs/s and 200 event streams
	$(BIN)/python -m tests.rolling

compose-smoke: install-dev ## Everything on a Docker engine: calls, streams, scaling, a kill, a drain
	$(BIN)/python -m tests.compose

docs: install-dev ## Write the pages of docs/ that are generated from the code
	$(BIN)/python -m tests.support.failures_page > docs/provider-failures.md
	$(BIN)/python -m tests.support.redis_page
	$(BIN)/python -m tests.support.rooms_page
	$(BIN)/python -m tests.support.records_page

pictures: install-dev ## Write docs/images anew, from the demo's world in Chromium; takes two minutes
	$(BIN)/python -m tests.browser.pictures

format: install-dev ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Pin the requirements again (needs uv)
	for set in "runtime.txt --extra gateway --extra worker --extra notifier --extra embedded" "dev.txt --extra dev" \
			"gateway.txt --extra gateway -c requirements/runtime.txt" "worker.txt --extra worker -c requirements/runtime.txt" \
			"notifier.txt --extra notifier -c requirements/runtime.txt" \
			"tracing.txt --extra tracing -c requirements/runtime.txt -c requirements/dev.txt"; do \
		set -- $$set; out=$$1; shift; \
		uv pip compile pyproject.toml "$$@" -o requirements/$$out --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet; done
	for set in bench generators; do \
		uv pip compile requirements/$$set.in -o requirements/$$set.txt --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet; done

clean: ## Remove what the commands made, except the data under .data/
	rm -rf $(VENV) .venv-bench .venv-generators .node .node22 $(NODE:%=%/node_modules) examples/nextjs/.next tests/browser/screenshots \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/results
