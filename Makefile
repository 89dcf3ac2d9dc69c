# Everything a person does here, from a fresh clone on; Python 3.11 or newer is all it needs.
# Every target first prepares the virtual environment; once that is done it takes no time.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PYTEST_ARGS ?=
CHAOS_SECONDS ?= 300
CHAOS_SEED ?= 1

# Holds the folder it was made for: after a move everything is prepared anew.
STAMP := .venv/.prepared
ifneq "$(shell cat $(STAMP) 2>/dev/null)" "$(CURDIR)"
$(shell rm -f $(STAMP))
endif

.PHONY: help up demo test chaos outages faults check record prepare docs fuzz bench

help: ## Show this help
	@echo "Abono, a subscription engine that survives anything."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target does; do printf '  make %-10s %s\n' "$$target" "$$does"; done
	@echo
	@echo "  .venv/bin/abono --help lists the commands behind them."

up: $(STAMP) ## Run the whole engine here until Ctrl-C
	@exec .venv/bin/abono dev

demo: $(STAMP) ## Play a subscription's life (starts the engine when it does not run)
	@exec .venv/bin/abono demo

test: $(STAMP) ## Run all tests (PYTEST_ARGS="-k name" for some)
	@exec .venv/bin/pytest -n 3 --dist worksteal $(PYTEST_ARGS)

chaos: $(STAMP) ## Live with every fault, then kill process after process (CHAOS_SECONDS each)
	@.venv/bin/abono chaos lives --seed $(CHAOS_SEED) --seconds $(CHAOS_SECONDS)
	@exec .venv/bin/abono chaos processes --seed $(CHAOS_SEED) --seconds $(CHAOS_SECONDS)

outages: $(STAMP) ## Take Temporal, PostgreSQL and the API away under webhooks, a minute long
	@ABONO_TEST_OUTAGE_SECONDS=$${ABONO_TEST_OUTAGE_SECONDS:-60} exec .venv/bin/pytest -s tests/outages

faults: $(STAMP) ## Place every pair of faults in the life of a charge (an hour or more)
	@ABONO_TEST_ALL_FAULT_PAIRS=1 exec .venv/bin/pytest -n 2 --dist worksteal tests/faults

fuzz: $(STAMP) ## Send the API what its description allows and forbids, for ten minutes
	@ABONO_TEST_FUZZ_SECONDS=$${ABONO_TEST_FUZZ_SECONDS:-600} exec .venv/bin/pytest tests/fuzz

bench: $(STAMP) ## Measure the speed claims (ABONO_BENCH_ONLY=name,name for some)
	@exec .venv/bin/python -m benchmarks

check: $(STAMP) ## Check format, lint, types and import contracts
	@echo "Format" && .venv/bin/ruff format --check .
	@echo "Lint" && .venv/bin/ruff check .
	@echo "Types" && .venv/bin/mypy
	@echo "Imports" && .venv/bin/lint-imports

record: $(STAMP) ## Record the workflow histories that the replay tests keep
	@exec .venv/bin/python -m tests.record_histories

docs: $(STAMP) ## Write what the documents say of the code anew
	@exec .venv/bin/python -m abono.dev.documents

prepare: $(STAMP) ## Only prepare the environment

$(STAMP): uv.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no $(PYTHON) here. Install Python 3.11 or newer," >&2; \
		echo "or name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" abono/dev/prepare.py $(STAMP)
